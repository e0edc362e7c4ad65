package dev.faultline.iommu;

import dev.faultline.iommu.tlb.Station;
import dev.faultline.iommu.tlb.Stations;
import java.util.Queue;
import java.util.concurrent.atomic.AtomicReference;
import org.jctools.queues.varhandle.MpscUnboundedVarHandleArrayQueue;
import org.jspecify.annotations.Nullable;

/**
 * Which thread steps a device, and how others get something done there: by the thread inside at its next step, or, when nobody
 * is inside, by themselves.
 *
 * <p>Threads: any. {@link #enter} is the one step that costs; nothing is paid for an access. What belongs to the thread inside
 * is handed from one to the next by {@code owner}.
 */
final class DeviceGate implements Station.Stepped {
    private final Iommu iommu;
    private final Device device;
    private final PageRequestPort port;
    private final Queue<Control> controls = new MpscUnboundedVarHandleArrayQueue<>(16);
    private final AtomicReference<@Nullable Thread> owner = new AtomicReference<>();

    /** That of the thread inside; its own. */
    private @Nullable Station station;

    private volatile boolean closed;

    DeviceGate(Iommu iommu, Device device, PageRequestPort port) {
        this.iommu = iommu;
        this.device = device;
        this.port = port;
    }

    boolean closed() {
        return closed;
    }

    /** From now on nobody enters. */
    void shut() {
        closed = true;
    }

    boolean enter() {
        Thread me = Thread.currentThread();
        if (closed || !owner.compareAndSet(null, me)) {
            return false;
        }
        try {
            if (closed) {
                return false;
            }
            Station claimed = iommu.stations().claim();
            try {
                if (port.enter()) {
                    station = claimed;
                    claimed.add(this);
                    return true;
                }
            } finally {
                if (station == null && claimed.empty()) {
                    iommu.stations().release(claimed);
                }
            }
            return false;
        } finally {
            if (station == null) {
                owner.set(null);
            }
        }
    }

    void leave() {
        Station mine = entered();
        port.leave();
        mine.remove(this);
        station = null;
        if (mine.empty()) {
            iommu.stations().release(mine);
        }
        owner.set(null);
        // A request that came in before may have counted on the steps that will not come now.
        if (hasControls()) {
            serveIfFree();
        }
    }

    /** Serves as the thread inside, if nobody is. A closed device, which nobody enters, has to be served still: changes may be left to it. */
    private void serveIfFree() {
        if (enter()) {
            var _ = serve();
            leave();
            return;
        }
        Thread me = Thread.currentThread();
        while (closed && hasControls() && owner.compareAndSet(null, me)) {
            try {
                var _ = serve();
            } finally {
                owner.set(null);
            }
        }
    }

    boolean mine() {
        return Thread.currentThread().equals(owner.get());
    }

    /** Whether the calling thread is inside. */
    boolean isEntered() {
        return station != null && mine();
    }

    /** The station of the calling thread, which has to be inside. */
    Station entered() {
        Station mine = station;
        if (mine == null || !mine()) {
            throw new IllegalStateException(device + ": this thread has not entered it");
        }
        return mine;
    }

    /** Who is inside, for people. */
    String ownerName() {
        Thread who = owner.get();
        return who == null ? "?" : who.getName();
    }

    boolean hasControls() {
        return !controls.isEmpty();
    }

    /** Runs what other threads have asked for. Only by the thread inside. */
    @Override
    public boolean serve() {
        boolean any = false;
        for (Control next = controls.poll(); next != null; next = controls.poll()) {
            next.run();
            any = true;
        }
        return any;
    }

    /** Has something run as the thread inside, without waiting: here if nobody is inside, else at that thread's next step, or its leaving. */
    void post(Runnable act) {
        if (mine()) {
            act.run();
            return;
        }
        controls.offer(new Control(act));
        serveIfFree();
    }

    /** One step of waiting for the device: serves what is asked of the devices that the calling thread is in, and holds nobody up. */
    void whileWaiting(int turn) {
        if (hasControls()) {
            serveIfFree();
        }
        Station own = iommu.stations().current();
        if (own == null) {
            Stations.pause(turn);
            return;
        }
        boolean wasOnline = own.online();
        own.goOffline();
        own.serve();
        Stations.pause(turn);
        if (wasOnline && !own.empty()) {
            own.goOnline();
        }
    }

    /**
     * Runs something as the thread inside: here if that is the caller or nobody, else at that thread's next step.
     *
     * @throws QuiescenceTimeout if that does not come within the limit: it is called off
     */
    void perform(Runnable act) {
        var _ = perform(act, null);
    }

    /**
     * {@link #perform(Runnable)}, of what does not fail and has to be done.
     *
     * @param later run after it by the thread inside, if this had returned false before
     * @return false if the step did not come within the limit: then it is done at that step, or when the thread leaves
     */
    boolean performOrLeave(Runnable act, Runnable later) {
        return perform(act, later);
    }

    private boolean perform(Runnable act, @Nullable Runnable later) {
        if (mine()) {
            act.run();
            return true;
        }
        Control control = new Control(act, later);
        controls.offer(control);
        Station own = iommu.stations().current();
        boolean wasOnline = own != null && own.online();
        if (own != null && wasOnline) {
            own.goOffline();
        }
        try {
            long start = System.nanoTime();
            for (int turn = 0; !control.done(); turn++) {
                serveIfFree();
                if (control.done()) {
                    break;
                }
                if (System.nanoTime() - start > iommu.config().limitNs()) {
                    if (later == null ? control.callOff() : control.leave()) {
                        if (later != null) {
                            return false;
                        }
                        throw new QuiescenceTimeout(
                                device, ownerName(), iommu.config().limitNs());
                    }
                } else {
                    if (own != null) {
                        own.serve();
                    }
                    Stations.pause(turn);
                }
            }
        } finally {
            if (own != null && wasOnline && !own.empty()) {
                own.goOnline();
            }
        }
        control.rethrow();
        return true;
    }

    @Override
    public void obey(long epoch) {
        device.obey(epoch);
    }
}
