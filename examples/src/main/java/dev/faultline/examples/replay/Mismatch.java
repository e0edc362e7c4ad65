package dev.faultline.examples.replay;

/**
 * A byte that is not what was stored there. Immutable.
 *
 * @param device the device that read it, which is its PASID too
 * @param access the access of the trace, from 1
 * @param address where the access began
 * @param expected the bytes that had to be there, in hexadecimal
 * @param found the bytes that were
 */
public record Mismatch(int device, long access, long address, String expected, String found) {
    @Override
    public String toString() {
        return "device " + device + ", access " + access + " of the trace: at 0x" + Long.toHexString(address)
                + " expected " + expected + ", found " + found;
    }
}
