package dev.faultline.iommu;

/** Keeps an exported package from being empty; goes with the first type that is written here. */
final class Placeholder {
    private Placeholder() {}
}
