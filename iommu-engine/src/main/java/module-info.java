/** The emulated IOMMU: page tables, device TLBs, page requests and invalidation. */
module dev.faultline.iommu {
    requires transitive dev.faultline.ring;
    requires org.jctools.core.jdk11;
    requires org.slf4j;
    requires static com.google.errorprone.annotations;
    requires static org.jspecify;

    exports dev.faultline.iommu;
    exports dev.faultline.iommu.iommufd;
    exports dev.faultline.iommu.iommufd.mock;
    exports dev.faultline.iommu.iommufd.smmuv3;
    exports dev.faultline.iommu.iommufd.vtd;
}
