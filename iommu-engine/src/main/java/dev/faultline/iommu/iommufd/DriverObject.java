package dev.faultline.iommu.iommufd;

/**
 * An object of a driver's own, with an id among the others.
 *
 * <p>Threads: any. Ownership: it is {@linkplain Context#create created} by a driver's command, and destroyed like others.
 *
 * <p>Lifetime: until a program's DESTROY, or its context's end. Errors: {@link #destroy} must not throw. Source: {@code
 * IOMMUFD_OBJ_SELFTEST} of {@code drivers/iommu/iommufd/selftest.c}, Linux 7.2.
 */
public abstract non-sealed class DriverObject extends IommufdObject {
    /** Without id as yet. */
    protected DriverObject() {}

    /** Nobody holds it any more. */
    @Override
    protected abstract void destroy();
}
