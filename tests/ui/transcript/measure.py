"""What the transcript and the plot cost, on screen or off: `python -m tests.ui.transcript.measure`.

Prints its conditions, then ends in one JSON line. Not a test: it has no opinion on what is fast enough.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable

from PySide6.QtCore import QElapsedTimer, QEventLoop, Qt, QTimer
from PySide6.QtWidgets import QApplication

from chatapp.domain.record import RunRecord
from chatapp.ui.tpot_plot import TpotPlot
from chatapp.ui.transcript import TranscriptView
from tests.helpers.records import RunScript, conversation, scripted_run, words

WIDTH_PX, HEIGHT_PX = 900, 800
LONG = "A fox went over the hill, under the bridge and past the mill without a word to anyone. "
BEAT_MS = 16
STEP_MS = 12


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def timed(work: Callable[[], object]) -> float:
    """Milliseconds of this thread's processor time that `work` takes: what else runs on the machine is not in it."""
    start = time.thread_time()
    work()
    return (time.thread_time() - start) * 1e3


def long_script(tokens: int, seed: int = 4) -> RunScript:
    """A reply of so many tokens in one paragraph."""
    return scripted_run(words(LONG * (tokens // 15))[:tokens], seed=seed)


def measure_frames(app: QApplication) -> dict[str, float]:
    """Cost of one frame (take in a step, lay out, paint) at the start and at the end of a long paragraph."""
    view = TranscriptView()
    view.resize(WIDTH_PX, HEIGHT_PX)
    view.show()
    app.processEvents()
    script = long_script(2000)
    record = RunRecord()
    view.begin_turn(script.prompt, record)
    taken, whole = [], []
    for event in script.events:
        record.apply(event)
        taken.append(timed(view._paint_new))
        whole.append(taken[-1] + timed(app.processEvents))
    part = len(whole) // 5
    repaint = [timed(view.canvas.viewport().repaint) for _ in range(20)]
    view.close()
    return {
        "frame_first_fifth_ms": quantile(whole[:part], 0.5),
        "frame_last_fifth_ms": quantile(whole[-part:], 0.5),
        "frame_p99_ms": quantile(whole, 0.99),
        "take_in_last_fifth_ms": quantile(taken[-part:], 0.5),
        "full_repaint_ms": quantile(repaint, 0.5),
    }


def measure_turns(app: QApplication) -> dict[str, float]:
    """Opening, scrolling and resizing 200 turns of 100 tokens."""
    turns = [long_script(100, seed).turn() for seed in range(200)]
    view = TranscriptView()
    view.resize(WIDTH_PX, HEIGHT_PX)
    view.show()
    app.processEvents()
    opening = timed(lambda: view.set_conversation(conversation(*turns))) + timed(
        view.canvas.viewport().repaint
    )
    view.canvas._idle.stop()
    idle = []
    while any(
        not item.is_laid_out(view.canvas.style_now, view.canvas.column_width) for item in view.canvas.items
    ):
        idle.append(timed(view.canvas._lay_out_idle))
    bar = view.canvas.verticalScrollBar()
    scrolls = []
    for step in range(60):
        bar.setValue(bar.maximum() * step // 60)
        scrolls.append(timed(app.processEvents))
    resize = timed(lambda: view.resize(WIDTH_PX - 200, HEIGHT_PX)) + timed(app.processEvents)
    while view.canvas._idle.isActive():
        app.processEvents()
    record = RunRecord()
    view.begin_turn("more", record)
    frames = []
    for event in long_script(200).events:
        record.apply(event)
        frames.append(timed(view._paint_new) + timed(app.processEvents))
    view.close()
    return {
        "open_200_turns_ms": opening,
        "idle_slice_p99_ms": quantile(idle, 0.99),
        "idle_total_ms": sum(idle),
        "scroll_frame_p99_ms": quantile(scrolls, 0.99),
        "resize_ms": resize,
        "frame_after_200_turns_ms": quantile(frames, 0.5),
    }


def measure_plot(app: QApplication) -> dict[str, float]:
    """Cost of a plot frame at the start and at the end of 2,000 tokens."""
    plot = TpotPlot()
    plot.resize(320, 220)
    plot.show()
    plot._make_chart()
    record = RunRecord()
    plot.set_records([record])
    frames = []
    for event in long_script(2000).events:
        record.apply(event)
        frames.append(timed(plot._show_new) + timed(app.processEvents))
    plot.close()
    part = len(frames) // 5
    return {
        "plot_first_fifth_ms": quantile(frames[:part], 0.5),
        "plot_last_fifth_ms": quantile(frames[-part:], 0.5),
    }


def measure_idle_heartbeat(_app: QApplication) -> dict[str, float]:
    """The same beat with nothing on screen: what the machine itself is late by."""
    loop, late, clock = QEventLoop(), [0.0], QElapsedTimer()
    clock.start()

    def beat() -> None:
        late.append(max(clock.nsecsElapsed() / 1e6 - BEAT_MS, 0.0))
        clock.restart()
        if len(late) > 300:
            loop.quit()

    timer = QTimer()
    timer.setTimerType(Qt.TimerType.PreciseTimer)
    timer.timeout.connect(beat)
    timer.start(BEAT_MS)
    loop.exec()
    timer.stop()
    return {"beat_alone_late_p99_ms": quantile(late, 0.99)}


def measure_heartbeat(app: QApplication) -> dict[str, float]:
    """Lateness of a 16 ms beat while 2,000 tokens stream at one step per 12 ms, the plot runs and a person scrolls."""
    view, plot = TranscriptView(), TpotPlot()
    view.resize(WIDTH_PX, HEIGHT_PX)
    plot.resize(320, 220)
    view.show()
    plot.show()
    plot._make_chart()
    app.processEvents()
    events = iter(long_script(2000, 9).events)
    record = RunRecord()
    view.begin_turn("go", record)
    plot.set_records([record])
    loop = QEventLoop()
    late: list[float] = []
    busy: list[float] = []
    clock = QElapsedTimer()
    clock.start()
    beats = 0
    worked = time.thread_time()

    def beat() -> None:
        nonlocal beats, worked
        beats += 1
        busy.append((time.thread_time() - worked) * 1e3)
        worked = time.thread_time()
        late.append(max(clock.nsecsElapsed() / 1e6 - BEAT_MS, 0.0))
        clock.restart()
        if beats % 40 < 10:
            bar = view.canvas.verticalScrollBar()
            bar.setValue(bar.value() - 60 if beats % 80 < 40 else bar.maximum())

    def step() -> None:
        event = next(events, None)
        if event is None:
            loop.quit()
            return
        record.apply(event)
        view.record_changed()
        plot.record_changed()

    timers = []
    for interval, slot in ((BEAT_MS, beat), (STEP_MS, step)):
        timer = QTimer()
        timer.setTimerType(Qt.TimerType.PreciseTimer)
        timer.setInterval(interval)
        timer.timeout.connect(slot)
        timer.start()
        timers.append(timer)
    loop.exec()
    for timer in timers:
        timer.stop()
    view.close()
    plot.close()
    return {
        "beat_late_p50_ms": quantile(late, 0.5),
        "beat_late_p99_ms": quantile(late, 0.99),
        "beat_late_max_ms": max(late),
        "busy_per_beat_p50_ms": quantile(busy, 0.5),
        "busy_per_beat_p99_ms": quantile(busy, 0.99),
        "beats": float(len(late)),
    }


def main() -> int:
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    app = QApplication(sys.argv[:1])
    load = os.getloadavg()[0]
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {load:.1f}, Qt platform {app.platformName()}")
    print(f"view {WIDTH_PX} × {HEIGHT_PX} px, scale {app.devicePixelRatio():g}, font {app.font().family()}")
    result: dict[str, float] = {}
    for work in (measure_frames, measure_turns, measure_plot, measure_idle_heartbeat, measure_heartbeat):
        result.update(work(app))
    for name, value in result.items():
        print(f"{name:28} {value:9.2f}")
    print(json.dumps({name: round(value, 3) for name, value in result.items()}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
