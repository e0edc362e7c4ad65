package dev.faultline.iommu;

import dev.faultline.ring.FaultProducer;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The attachments of one device: one without PASID, and any number with. The one without handles every PASID if its page table knows
 * the tables of them all.
 *
 * <p>Threads: the one that has entered the device. A table of open addressing, so that finding, adding and removing one costs the
 * same for one PASID and for all of them.
 */
final class Attachments {
    private final List<Attachment> all = new ArrayList<>();
    private @Nullable Attachment plain;
    /** At most half full; a slot that is emptied is filled from behind, so a search ends at the first empty one. */
    private @Nullable Attachment[] table = new @Nullable Attachment[4];

    private int withPasid;
    /** How many of them ask for pages. */
    private int asking;

    private int lastKey;
    private boolean keysWentRound;

    /** PASIDs below this are handled by the one without, unless they have one of their own. */
    private int covered;

    private final int pasids;

    /** @param pasids how many the device has */
    Attachments(int pasids) {
        this.pasids = pasids;
    }

    /** Which one an access is translated through, and asks for its pages through. */
    @Nullable
    Attachment get(int pasid) {
        if (pasid == FaultProducer.NO_PASID) {
            return plain;
        }
        Attachment own = table[find(table, pasid)];
        return own == null && pasid < covered ? plain : own;
    }

    /** The one that is a PASID's own. */
    @Nullable
    Attachment own(int pasid) {
        return pasid == FaultProducer.NO_PASID ? plain : table[find(table, pasid)];
    }

    private void plain(@Nullable Attachment now) {
        plain = now;
        covered = now != null && now.table().walk().everyPasid() ? pasids : 0;
    }

    /** A key that no attachment of the device has. */
    int nextKey() {
        do {
            lastKey = (lastKey + 1) % RequestTag.KEYS;
            keysWentRound |= lastKey == 0;
        } while (keysWentRound && all.stream().anyMatch(attachment -> attachment.key == lastKey));
        return lastKey;
    }

    void add(Attachment attachment) {
        attachment.place = all.size();
        all.add(attachment);
        asking += attachment.lane != null ? 1 : 0;
        if (attachment.pasid() == FaultProducer.NO_PASID) {
            plain(attachment);
            return;
        }
        if (2 * ++withPasid > table.length) {
            grow();
        }
        table[find(table, attachment.pasid())] = attachment;
    }

    /** Puts one in the place of another with the same PASID. */
    void replace(Attachment old, Attachment by) {
        by.place = old.place;
        all.set(old.place, by);
        asking += (by.lane != null ? 1 : 0) - (old.lane != null ? 1 : 0);
        if (old.pasid() == FaultProducer.NO_PASID) {
            plain(by);
        } else {
            table[find(table, old.pasid())] = by;
        }
    }

    void remove(Attachment attachment) {
        Attachment last = all.removeLast();
        if (last != attachment) {
            all.set(attachment.place, last);
            last.place = attachment.place;
        }
        asking -= attachment.lane != null ? 1 : 0;
        if (attachment.pasid() == FaultProducer.NO_PASID) {
            plain(null);
            return;
        }
        withPasid--;
        int mask = table.length - 1;
        int empty = find(table, attachment.pasid());
        table[empty] = null;
        for (int i = (empty + 1) & mask; ; i = (i + 1) & mask) {
            Attachment moved = table[i];
            if (moved == null) {
                return;
            }
            // It may move if its own place is not between the empty one and where it is.
            if (((i - spread(moved.pasid())) & mask) >= ((i - empty) & mask)) {
                table[empty] = moved;
                table[i] = null;
                empty = i;
            }
        }
    }

    /** Whether one is among them. */
    boolean has(Attachment attachment) {
        return attachment.place < all.size() && all.get(attachment.place) == attachment;
    }

    /** Whether none of them asks for pages. */
    boolean asksNothing() {
        return asking == 0;
    }

    int size() {
        return all.size();
    }

    Attachment at(int i) {
        return all.get(i);
    }

    private void grow() {
        @Nullable Attachment[] larger = new @Nullable Attachment[2 * table.length];
        for (Attachment attachment : table) {
            if (attachment != null) {
                larger[find(larger, attachment.pasid())] = attachment;
            }
        }
        table = larger;
    }

    /** Where a PASID is, or would be. */
    private static int find(@Nullable Attachment[] in, int pasid) {
        int mask = in.length - 1;
        for (int i = spread(pasid) & mask; ; i = (i + 1) & mask) {
            Attachment found = in[i];
            if (found == null || found.pasid() == pasid) {
                return i;
            }
        }
    }

    private static int spread(int pasid) {
        return (pasid * 0x9e37_79b9) >>> 7;
    }
}
