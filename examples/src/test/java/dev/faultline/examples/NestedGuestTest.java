package dev.faultline.examples;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;

class NestedGuestTest {
    @Test
    void theGuestMendsItsOwnTable() throws Exception {
        try (NestedGuest guest = new NestedGuest()) {
            assertEquals("""
                write: OK after 1 fault, the guest's page 0x5000 holds "hello from the card"
                invalidate by another's id: EIO, 0 done
                invalidate by its own id: 0, 1 done
                read: OK after 2 faults, zeros of a new page
                without fault queue: NO_FAULT_QUEUE, event of 40 bytes: device 0x99, address 0xdead0000
                """, guest.run());
        }
    }
}
