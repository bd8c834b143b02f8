"""What the window costs: the lateness of the GUI's heartbeat while a reply streams, and TPOT with and without it.

Both sides run the same requests through the same engine thread, in turn, in one process. On the headless side the window
is hidden and gets no event; on the other side it is on screen and does everything it does for a person.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatapp.bench.measure import Cell, Reply, reply_of, speed_up
from chatapp.bench.prompts import PROMPTS, prompts_of
from chatapp.bench.suites import SuiteOptions
from chatapp.domain.record import RunRecord
from chatapp.domain.request import GenerationRequest, SamplingSettings

if TYPE_CHECKING:
    from chatapp.app import Session

HEARTBEAT_MS = 16
SETTLE_S = 0.3
"""After a reply the slow clocks of the panels finish on their own; the next measurement begins behind them."""


class Heartbeat:
    """A precise timer of 16 ms that notes how late each beat is. Only beats between `start` and `stop` count."""

    def __init__(self) -> None:
        from PySide6.QtCore import Qt, QTimer

        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(HEARTBEAT_MS)
        self._timer.timeout.connect(self._beat)
        self._last_ns = 0
        self.late_ms: list[float] = []

    def start(self) -> None:
        self._last_ns = time.perf_counter_ns()
        self._timer.start()

    def stop(self) -> None:
        self._timer.stop()

    def _beat(self) -> None:
        now = time.perf_counter_ns()
        self.late_ms.append(max((now - self._last_ns) / 1e6 - HEARTBEAT_MS, 0.0))
        self._last_ns = now


def measure_window(options: SuiteOptions) -> dict[str, Any]:
    """Run both sides and print; returns what the JSON line holds."""
    from chatapp.app import GuiOptions, run_gui

    sampling = options.sampling()
    location = options.location
    result: dict[str, Any] = {}

    async def story(session: Session) -> None:
        result.update(await _measure(session, options, sampling))

    with tempfile.TemporaryDirectory(prefix="chatapp-bench-") as folder:
        window = GuiOptions(
            target=location.target if location else None,
            draft=location.draft if location else None,
            data_dir=Path(folder),
            size=(1280, 800),
        )
        run_gui(window, story)
    return result


async def _measure(session: Session, options: SuiteOptions, sampling: SamplingSettings) -> dict[str, Any]:
    from PySide6.QtGui import QGuiApplication

    from chatapp.bench.sweep import describe_conditions

    await on_screen(session)
    window_ms = process_age_ms()
    info = await loaded(session)
    ready_ms = process_age_ms()
    conditions = describe_conditions(info, sampling, options)
    conditions |= {
        "screen": f"Qt {QGuiApplication.platformName()}, window 1280 x 800",
        "k": str(options.window),
    }
    for name, value in conditions.items():
        print(f"{name + ':':<14}{value}")
    prompts = [prompt for kind in options.kinds or PROMPTS for prompt in prompts_of(kind, options.prompts)]
    headless, shown, beat = Cell(), Cell(), Heartbeat()
    for round_index in range(options.rounds + 1):
        results: tuple[list[Reply], list[Reply]] = ([], [])
        for index, messages in enumerate(prompts):
            request = GenerationRequest(messages, sampling, window=options.window, acceptor=options.acceptor)
            # The second of two equal requests finds the prompt in the draft's cache: each side is second in turn.
            for side in (0, 1) if (round_index + index) % 2 else (1, 0):
                if side == 0:
                    results[0].append(await _headless(session, request))
                else:
                    results[1].append(await _with_window(session, request, beat if round_index else None))
        if round_index:
            headless.rounds.append(results[0])
            shown.rounds.append(results[1])
    return _report(conditions, headless, shown, beat.late_ms, window_ms, ready_ms)


async def on_screen(session: Session) -> None:
    """Until the screen has the window, painted: `show` alone only asks for it."""
    while not session.window.windowHandle().isExposed():
        await asyncio.sleep(0.001)
    session.window.repaint()


def process_age_ms() -> float:
    """Milliseconds since the kernel started this process, the interpreter's own start included; NaN where /proc is not."""
    try:
        stat = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return float("nan")
    started_ticks = int(stat.rpartition(")")[2].split()[19])  # field 22, counted behind the command's name
    started_s = started_ticks / os.sysconf("SC_CLK_TCK")
    return (time.clock_gettime(time.CLOCK_BOOTTIME) - started_s) * 1e3


async def loaded(session: Session) -> Any:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def on_loaded(_: object) -> None:
        ready.set_result(None)

    session.pairs.loaded.connect(on_loaded)
    session.pairs.failed.connect(ready.set_exception)
    session.begin()
    await ready
    info = session.pairs.info
    assert info is not None
    return info


async def _headless(session: Session, request: GenerationRequest) -> Reply:
    session.window.hide()
    await asyncio.sleep(SETTLE_S)
    record = RunRecord()
    async for batch in await session.engine.start(request):
        for event in batch:
            record.apply(event)
    return reply_of(record)


async def _with_window(session: Session, request: GenerationRequest, beat: Heartbeat | None) -> Reply:
    from chatapp.ui.controllers.chat import RequestSettings

    session.window.show()
    session.chat.new_chat()
    session.chat.set_window(request.window)
    await asyncio.sleep(SETTLE_S)
    ended: asyncio.Future[RunRecord] = asyncio.get_running_loop().create_future()
    connection = session.chat.run_ended.connect(ended.set_result)
    if beat is not None:
        beat.start()
    settings = RequestSettings(request.sampling, request.acceptor, "")
    session.chat.submit(request.messages[-1].content, settings)
    record = await ended
    if beat is not None:
        beat.stop()
    session.chat.run_ended.disconnect(connection)
    return reply_of(record)


def _report(
    conditions: dict[str, str],
    headless: Cell,
    shown: Cell,
    late_ms: list[float],
    window_ms: float,
    ready_ms: float,
) -> dict[str, Any]:
    late = sorted(late_ms)
    result: dict[str, Any] = {
        "conditions": conditions,
        "tpot_headless_ms": headless.tpot_ms(),
        "tpot_window_ms": shown.tpot_ms(),
        "window_over_headless": speed_up(headless, shown),
        "beats": len(late),
        "late_median_ms": statistics.median(late) if late else None,
        "late_p99_ms": late[min(int(len(late) * 0.99), len(late) - 1)] if late else None,
        "late_max_ms": late[-1] if late else None,
        "window_on_screen_ms": window_ms,
        "pair_ready_ms": ready_ms,
    }
    print(
        f"\nTPOT without the window {result['tpot_headless_ms']:.3f} ms, with it {result['tpot_window_ms']:.3f} ms"
    )
    print(f"with / without, median of rounds: {result['window_over_headless']:.3f}")
    print(
        f"heartbeat of {HEARTBEAT_MS} ms while streaming, {len(late)} beats: late by {result['late_median_ms']:.1f} ms "
        f"(median), {result['late_p99_ms']:.1f} ms (p99), {result['late_max_ms']:.1f} ms (max)"
    )
    print(f"from the process's start: window on screen {window_ms:.0f} ms, pair ready {ready_ms:.0f} ms")
    return result
