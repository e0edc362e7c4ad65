package dev.faultline.iommu.iommufd;

/** What a program has set for a context as a whole. */
final class Options {}
