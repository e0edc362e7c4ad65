package dev.faultline.ring;

import java.lang.foreign.MemorySegment;

/**
 * Makes pages present where a device looks for them: what a handler needs besides the faults, whatever the faults come from.
 *
 * <p>Threads: any. Units: bytes; an address names the page it lies in.
 */
public interface PageMapper {
    /**
     * Maps a page with a copy of its content.
     *
     * @param address where the device looks
     * @param page the content, one page
     * @param access the permitted accesses, bits of {@link dev.faultline.ffm.PageFaultLayout}
     * @return false if something is mapped there already, which is left as it is
     */
    boolean map(long address, MemorySegment page, int access);

    /**
     * Maps a page of zeroes for every access.
     *
     * @param address where the device looks
     * @return false if something is mapped there already, which is left as it is
     */
    boolean zero(long address);

    /**
     * Takes pages away. When it returns no device uses them any more.
     *
     * @param address the first page
     * @param bytes how far, a multiple of the page size
     * @return whether anything was mapped
     */
    boolean unmap(long address, long bytes);
}
