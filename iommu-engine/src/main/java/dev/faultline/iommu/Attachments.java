package dev.faultline.iommu;

import dev.faultline.ring.FaultProducer;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The attachments of one device: one without PASID, and any number with.
 *
 * <p>Threads: the one that has entered the device. A table of open addressing, made anew when something is attached or
 * detached, so that finding one costs the same for one PASID and for thousands.
 */
final class Attachments {
    private final List<Attachment> all = new ArrayList<>();
    private @Nullable Attachment plain;
    private int lastKey;
    private @Nullable Attachment[] table = new @Nullable Attachment[2];

    @Nullable
    Attachment get(int pasid) {
        if (pasid == FaultProducer.NO_PASID) {
            return plain;
        }
        int mask = table.length - 1;
        for (int i = spread(pasid) & mask; ; i = (i + 1) & mask) {
            Attachment found = table[i];
            if (found == null || found.pasid() == pasid) {
                return found;
            }
        }
    }

    void add(Attachment attachment) {
        all.add(attachment);
        rebuild();
    }

    void remove(Attachment attachment) {
        all.remove(attachment);
        rebuild();
    }

    /** A key that no attachment of the device has. */
    int nextKey() {
        do {
            lastKey = (lastKey + 1) % RequestTag.KEYS;
        } while (all.stream().anyMatch(attachment -> attachment.key == lastKey));
        return lastKey;
    }

    /** Whether none of them asks for pages. */
    boolean asksNothing() {
        return all.stream().allMatch(attachment -> attachment.lane == null);
    }

    int size() {
        return all.size();
    }

    Attachment at(int i) {
        return all.get(i);
    }

    private void rebuild() {
        plain = null;
        table = new @Nullable Attachment[Integer.highestOneBit(all.size() + 1) << 2];
        for (Attachment attachment : all) {
            if (attachment.pasid() == FaultProducer.NO_PASID) {
                plain = attachment;
                continue;
            }
            int i = spread(attachment.pasid()) & (table.length - 1);
            while (table[i] != null) {
                i = (i + 1) & (table.length - 1);
            }
            table[i] = attachment;
        }
    }

    private static int spread(int pasid) {
        return (pasid * 0x9e37_79b9) >>> 7;
    }
}
