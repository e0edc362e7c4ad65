package dev.faultline.iommu;

/**
 * Page requests whose group lacks its last one: a list in order of arrival, in parallel arrays.
 *
 * <p>Threads: the one that has entered the device. Nothing is allocated after construction.
 */
final class PartialRequests {
    final int[] pasid;
    final int[] index;
    final long[] address;
    final int[] access;
    final int[] length;

    private int count;

    PartialRequests(int most) {
        pasid = new int[most];
        index = new int[most];
        address = new long[most];
        access = new int[most];
        length = new int[most];
    }

    int count() {
        return count;
    }

    /** Adds one; false if the list is full. */
    boolean add(int ofPasid, int ofIndex, long at, int wanted, int hint) {
        if (count == pasid.length) {
            return false;
        }
        pasid[count] = ofPasid;
        index[count] = ofIndex;
        address[count] = at;
        access[count] = wanted;
        length[count] = hint;
        count++;
        return true;
    }

    /** How many there are of a group. */
    int of(int group) {
        int n = 0;
        for (int i = 0; i < count; i++) {
            n += index[i] == group ? 1 : 0;
        }
        return n;
    }

    /** Whether one of a group has another PASID. */
    boolean hasOther(int ofPasid, int group) {
        for (int i = 0; i < count; i++) {
            if (index[i] == group && pasid[i] != ofPasid) {
                return true;
            }
        }
        return false;
    }

    /** Takes out all of a group. */
    void remove(int group) {
        int kept = 0;
        for (int i = 0; i < count; i++) {
            if (index[i] != group) {
                pasid[kept] = pasid[i];
                index[kept] = index[i];
                address[kept] = address[i];
                access[kept] = access[i];
                length[kept] = length[i];
                kept++;
            }
        }
        count = kept;
    }

    void clear() {
        count = 0;
    }
}
