package dev.faultline.iommu;

import dev.faultline.ring.FaultProducer;
import java.util.Locale;

/** A blocking access could not be done. */
public final class AccessFault extends RuntimeException {
    private static final long serialVersionUID = 1;

    /** The first address that was not moved. */
    private final long address;

    /** The device's name. */
    private final String device;

    /** The PASID, or none. */
    private final int pasid;

    /** Why. */
    private final AccessResult reason;

    AccessFault(long address, String device, int pasid, Access access, AccessResult reason) {
        super("device " + device + (pasid == FaultProducer.NO_PASID ? "" : " with PASID " + pasid) + " could not "
                + access.name().toLowerCase(Locale.ROOT) + " at 0x" + Long.toHexString(address) + ": " + reason);
        this.address = address;
        this.device = device;
        this.pasid = pasid;
        this.reason = reason;
    }

    /**
     * Where it stopped.
     *
     * @return the first address that was not moved
     */
    public long address() {
        return address;
    }

    /**
     * Which device.
     *
     * @return its name
     */
    public String device() {
        return device;
    }

    /**
     * For whom.
     *
     * @return the PASID, or {@link FaultProducer#NO_PASID}
     */
    public int pasid() {
        return pasid;
    }

    /**
     * Why.
     *
     * @return anything but {@link AccessResult#OK}
     */
    public AccessResult reason() {
        return reason;
    }
}
