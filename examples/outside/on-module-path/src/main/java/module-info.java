/** A stranger's module: it asks for the engine, and reads what the engine shows it. */
module outside {
    requires dev.faultline.iommu;
}
