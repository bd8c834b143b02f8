"""What streaming costs a remote desktop: pixels repainted per second in the local and in the remote display mode.

The real window shows the same replies in both modes, from the real pair at a fixed pace: a verify step every `STEP_MS`. Only
the time from a reply's first events to its last counts. Sides take turns, in one process.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatapp.bench.gui import loaded, on_screen
from chatapp.bench.prompts import prompts_of
from chatapp.bench.suites import Bar, SuiteOptions, show_bars
from chatapp.bench.sweep import describe_conditions
from chatapp.domain.errors import GenerationFailed
from chatapp.domain.events import EndReason
from chatapp.domain.record import RunRecord
from chatapp.domain.request import SamplingSettings

if TYPE_CHECKING:
    from chatapp.app import Session
    from chatapp.bench.repaint_meter import Repainted, RepaintMeter
    from chatapp.engine.session import Engine

STEP_MS = 35.4
"""A verify step at k 5 of Llama-2 70B with 7B on Trainium: 20.6 + 4 × 3.7 ms, the medians that AWS published in August 2024."""
KINDS = ("story",)
MAX_TOKENS = 600
SETTLE_S = 1.0
LIMIT = 0.25
END_REMEDY = "Ask for fewer with --max-tokens where the context is small; otherwise see the window's log."


@dataclass(frozen=True, slots=True)
class Streamed:
    """One reply: how long it streamed, how many tokens it had, and what was repainted meanwhile."""

    seconds: float
    tokens: int
    seen: Repainted

    def rates(self) -> dict[str, float]:
        seen = self.seen
        parts = {f"{name}_px_per_s": px / self.seconds for name, px in seen.parts_px.items()}
        return {
            "frames_per_s": seen.frames / self.seconds,
            "repainted_px_per_s": seen.painted_px / self.seconds,
            "changed_px_per_s": seen.changed_px / self.seconds,
            "tokens_per_s": self.tokens / self.seconds,
            **parts,
        }


def measure_repaint(options: SuiteOptions) -> dict[str, Any]:
    """Run both modes and print; returns what the JSON line holds."""
    from chatapp.app import GuiOptions, run_gui

    location = options.location
    result: dict[str, Any] = {}

    async def story(session: Session) -> None:
        result.update(await _measure(session, options))

    def make_engine() -> Engine:
        from chatapp.bench.pacing import PacedEngine

        return PacedEngine(STEP_MS / 1000)

    with tempfile.TemporaryDirectory(prefix="chatapp-bench-") as folder:
        window = GuiOptions(
            target=location.target if location else None,
            draft=location.draft if location else None,
            display_mode="local",
            data_dir=Path(folder),
            size=(1280, 800),
        )
        run_gui(window, story, make_engine)
    return result


async def _measure(session: Session, options: SuiteOptions) -> dict[str, Any]:
    from PySide6.QtGui import QGuiApplication

    from chatapp.bench.repaint_meter import RepaintMeter
    from chatapp.ui.display_mode import DisplayChoice

    await on_screen(session)
    info = await loaded(session)
    sampling = options.sampling(max_tokens=MAX_TOKENS)
    window = session.window
    conditions = describe_conditions(info, sampling, options) | {
        "screen": f"Qt {QGuiApplication.platformName()}, window {window.width()} x {window.height()}",
        "k": str(options.window),
        "pace": f"a verify step every {STEP_MS} ms, ends of text banned",
    }
    for name, value in conditions.items():
        print(f"{name + ':':<14}{value}")
    parts = {"transcript": window.transcript, "panel": window.panel, "composer": window.composer}
    meter = RepaintMeter(window, parts)
    modes: dict[str, list[Streamed]] = {"local": [], "remote": []}
    for _ in range(options.rounds):
        for kind in options.kinds or KINDS:
            prompt = prompts_of(kind, 1)[0][-1].content
            for mode, streamed in modes.items():
                window.choose_display(DisplayChoice(mode))
                streamed.append(await _stream(session, prompt, sampling, options, meter))
                print(f"{mode:<8}{kind:<8}{_line(streamed[-1].rates())}", flush=True)
    return _report(conditions, {mode: _medians(streamed) for mode, streamed in modes.items()})


async def _stream(
    session: Session, prompt: str, sampling: SamplingSettings, options: SuiteOptions, meter: RepaintMeter
) -> Streamed:
    from chatapp.ui.controllers.chat import RequestSettings

    session.chat.new_chat()
    session.chat.set_window(options.window)
    await asyncio.sleep(SETTLE_S)
    loop = asyncio.get_running_loop()
    begun = asyncio.Event()
    ended: asyncio.Future[RunRecord] = loop.create_future()
    first = session.chat.record_changed.connect(begun.set)
    last = session.chat.run_ended.connect(ended.set_result)
    session.chat.submit(prompt, RequestSettings(sampling, options.acceptor, ""))
    await begun.wait()
    start = time.perf_counter()
    meter.start()
    record = await ended
    seconds, seen = time.perf_counter() - start, meter.stop()
    if record.ended is None or record.ended.reason is not EndReason.MAX_TOKENS:
        raise GenerationFailed(f"A reply did not reach its {sampling.max_tokens} tokens.", remedy=END_REMEDY)
    session.chat.record_changed.disconnect(first)
    session.chat.run_ended.disconnect(last)
    return Streamed(seconds, record.token_count, seen)


def _medians(streamed: list[Streamed]) -> dict[str, float]:
    rates = [one.rates() for one in streamed]
    return {name: statistics.median(one[name] for one in rates) for name in rates[0]}


def _line(rates: dict[str, float]) -> str:
    painted, changed = rates["repainted_px_per_s"], rates["changed_px_per_s"]
    where = ", ".join(
        f"{name} {rates[f'{name}_px_per_s'] / 1e6:.2f}" for name in ("transcript", "panel", "composer")
    )
    return (
        f"{rates['frames_per_s']:5.1f} frames/s, repainted {painted / 1e6:6.2f} Mpx/s = {painted * 4 / 1e6:6.1f} MB/s "
        f"({where}), of it changed {changed / 1e6:5.2f} Mpx/s = {changed * 4 / 1e6:5.1f} MB/s, "
        f"{rates['tokens_per_s']:.0f} tokens/s"
    )


def _report(conditions: dict[str, str], modes: dict[str, dict[str, float]]) -> dict[str, Any]:
    print("\nmedians while streaming (4 bytes per pixel, before any compression)")
    for mode, rates in modes.items():
        print(f"{mode:<8}{_line(rates)}")
        for name in ("repainted", "changed"):
            rates[f"{name}_bytes_per_s"] = 4 * rates[f"{name}_px_per_s"]
    bars = []
    for name in ("repainted", "changed"):
        local, remote = (modes[mode][f"{name}_px_per_s"] for mode in ("local", "remote"))
        ratio = remote / local if local else None
        bars.append(Bar(f"{name} pixels per second while streaming, remote / local", ratio, LIMIT))
    return {"conditions": conditions, **modes, "bars": show_bars(bars)}
