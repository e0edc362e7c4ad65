package dev.faultline.examples;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;

class NestedGuestTest {
    @Test
    void theGuestMendsItsOwnTable() {
        assertEquals("""
            write: OK after 1 fault, the guest's page 0x5000 holds "hello from the card"
            invalidate by an id it has no device by: EIO
            invalidate by its own id, and read: OK after 2 faults, zeros of a new page
            without fault queue: NO_FAULT_QUEUE, event 0: device 0x99, address 0xdead0000
            """, NestedGuest.run());
    }
}
