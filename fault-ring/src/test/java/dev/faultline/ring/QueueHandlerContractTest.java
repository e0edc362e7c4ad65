package dev.faultline.ring;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.faultline.ring.contract.HandlerContract;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import org.junit.jupiter.api.AfterEach;

/** A handler that answers every third group LATER, on a virtual thread. */
class QueueHandlerContractTest extends HandlerContract {
    private final ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor();
    private int calls;

    @AfterEach
    void nobodyIsLeft() {
        threads.close();
    }

    @Override
    protected FaultHandler handler(FaultConsumer mine) {
        return group -> {
            int cookie = group.cookie();
            if (calls++ % 3 != 2) {
                return Answer.SUCCESS;
            }
            threads.execute(() -> {
                Result result = mine.answerLater(cookie, Answer.SUCCESS);
                // CLOSED or STALE: the queue was closed first.
                assertEquals(false, result == Result.FULL);
            });
            return Answer.LATER;
        };
    }
}
