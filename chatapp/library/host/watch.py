"""Watches the NeuronCores while the window is open: one thread that reads /sys once a second and listens to neuron-monitor.

The thread only reads, and sleeps between two looks. Who holds the cores comes from neuron-monitor, or from neuron-ls every
while where that is all there is. This module must not know who shows the readings.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import threading
import time

from chatapp.domain.device import CoreReading, DevicePort, DeviceReading
from chatapp.library.host.device_checks import Listing, instance_type, list_chips
from chatapp.library.host.machine import Host
from chatapp.library.host.monitor import NAME as MONITOR
from chatapp.library.host.monitor import NeuronMonitor
from chatapp.library.host.reading import Looked, make_reading
from chatapp.library.host.sysfs import Chip, neuron_present, read_chips, read_cores

PERIOD_S = 1.0
LIST_EVERY_S = 15.0
LIST_AGAIN_S = 60.0
"""After neuron-ls failed; a tool that hangs holds up the readings each time it is asked."""
JOIN_S = 2.0


class NeuronWatch(DevicePort):
    """The device port of a real machine. `period_s` is the time between two looks."""

    def __init__(self, host: Host, *, period_s: float = PERIOD_S) -> None:
        self._host = host
        self._period_s = period_s
        self._latest: DeviceReading | None = None
        self._thread: threading.Thread | None = None
        self._stop: socket.socket | None = None
        # The nodes in /dev neither come nor go while a program runs.
        self._present = neuron_present(host)

    @property
    def present(self) -> bool:
        return self._present

    def start(self) -> None:
        if self._thread is None and self._present:
            self._stop, stopped = socket.socketpair()
            self._thread = threading.Thread(
                target=self._run, args=(stopped,), name="chatapp-device", daemon=True
            )
            self._thread.start()

    def latest(self) -> DeviceReading | None:
        return self._latest

    def close(self) -> None:
        if self._stop is None or self._thread is None:
            return
        self._stop.close()  # the other end can then be read: that is the sign to stop
        self._thread.join(JOIN_S)
        self._stop = None

    def _run(self, stopped: socket.socket) -> None:
        with stopped, contextlib.closing(Look(self._host)) as look:
            while True:
                due_s = time.monotonic() + self._period_s
                self._latest = look.now(stopped)
                if look.wait_until(due_s, stopped):
                    return


class Look:
    """What the thread keeps from one look to the next."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._chips: tuple[Chip, ...] = read_chips(host)
        self._instance = instance_type(host, self._chips)
        self._monitor = NeuronMonitor(host)
        self._listing = Listing()
        self._list_due_s = 0.0
        self._counted: tuple[float, tuple[CoreReading, ...]] | None = None

    def now(self, stop: socket.socket) -> DeviceReading:
        """One reading. Asks neuron-ls at first, and again every while when neuron-monitor does not say who holds what."""
        now_s = time.monotonic()
        self._monitor.start_if_due(now_s)
        report = self._monitor.report(now_s)
        if now_s >= self._list_due_s and (report is None or not self._listing.chips):
            self._listing = list_chips(self._host, stop)
            self._list_due_s = now_s + (LIST_AGAIN_S if self._listing.trouble else LIST_EVERY_S)
        cores = read_cores(self._chips)
        rate = self._launches_per_s(now_s, cores)
        trouble = (f"{MONITOR}: {self._monitor.trouble}",) if self._monitor.trouble else ()
        looked = Looked(self._instance, self._chips, cores, self._listing, report, rate, trouble)
        return make_reading(self._host, looked, os.getpid())

    def _launches_per_s(self, now_s: float, cores: tuple[CoreReading, ...]) -> float | None:
        """Of the busiest core, since the look before; None at first, and when a counter was cleared in between."""
        before, self._counted = self._counted, (now_s, cores)
        if before is None or now_s <= before[0]:
            return None
        pairs = zip(before[1], cores, strict=False)
        steps = [
            new.inferences - old.inferences
            for old, new in pairs
            if new.inferences is not None and old.inferences is not None
        ]
        most = max(steps, default=-1)
        return most / (now_s - before[0]) if most >= 0 else None

    def wait_until(self, due_s: float, stop: socket.socket) -> bool:
        """Listen to the monitor until it is time to look again; True when it is time to stop."""
        while (left_s := due_s - time.monotonic()) > 0:
            with selectors.DefaultSelector() as selector:
                selector.register(stop, selectors.EVENT_READ)
                pipe = self._monitor.pipe
                if pipe is not None:
                    selector.register(pipe, selectors.EVENT_READ)
                ready = {key.fileobj for key, _ in selector.select(left_s)}
            if stop in ready:
                return True
            if pipe in ready:
                self._monitor.hear(time.monotonic())
        return False

    def close(self) -> None:
        self._monitor.close()
