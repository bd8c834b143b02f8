"""A rehearsal in the whole window: no figure on screen without the words that say what it is, in every theme and size."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import QRect
from PySide6.QtWidgets import QLabel

from chatapp.domain.events import RunEvent, RunStarted
from chatapp.domain.metrics import run_metrics
from chatapp.domain.neuron import NeuronSettings
from chatapp.domain.ports import LoadProgress, PairInfo, PairLocation
from chatapp.domain.rehearsal import REHEARSAL, REHEARSAL_TITLE, rehearsed_pair
from chatapp.domain.request import GenerationRequest
from chatapp.export.json_format import JsonExporter
from chatapp.store.sqlite_store import SqliteStore
from chatapp.ui.theme import ThemeChoice
from chatapp.ui.tpot_chart import describe_bar
from chatapp.ui.transcript.wording import reply_summary
from tests.helpers.records import RunScript, conversation
from tests.helpers.scripted_engine import BUILTIN, ScriptedEngine, ScriptedRun
from tests.ui.stage import Stage

ROOT = Path(__file__).resolve().parents[2]
PAIR = rehearsed_pair("trn1.32xlarge")
SETTINGS = NeuronSettings(rehearse="trn1.32xlarge", rehearse_pair="llama-2-70b+7b")
SIZES = [(1280, 800), (1080, 700), (900, 640), (640, 600)]
LATE = "3 of 90 launches took longer on this computer than was published, by 1.2 ms on average"


class RehearsedRun(ScriptedRun):
    """Its record says that it was rehearsed."""

    async def __aiter__(self) -> AsyncIterator[Sequence[RunEvent]]:
        async for batch in super().__aiter__():
            yield tuple(_rehearsed(event) for event in batch)


def _rehearsed(event: RunEvent) -> RunEvent:
    if not isinstance(event, RunStarted):
        return event
    return replace(event, environment=replace(event.environment, device=PAIR.device, simulated=True))


class RehearsingEngine(ScriptedEngine):
    """Rehearses pairs with such settings, and runs the others."""

    async def load(self, pair: PairLocation, on_progress: Callable[[LoadProgress], None]) -> PairInfo:
        info = await super().load(pair, on_progress)
        self.rehearses = pair.neuron is not None
        if not self.rehearses:
            return info
        return replace(info, environment=replace(info.environment, device=PAIR.device, simulated=True))

    async def start(self, request: GenerationRequest) -> ScriptedRun:
        run = await super().start(request)
        if not self.rehearses:
            return run
        run.__class__ = RehearsedRun
        return run


@pytest.fixture
def engine() -> ScriptedEngine:
    return RehearsingEngine()


def rehearse(stage: Stage) -> None:
    with stage.qtbot.waitSignal(stage.pairs.loaded):
        stage.pairs.load(replace(BUILTIN, neuron=SETTINGS))


def measure(stage: Stage) -> None:
    with stage.qtbot.waitSignal(stage.pairs.loaded):
        stage.pairs.load(BUILTIN)


def badges(stage: Stage) -> list[QLabel]:
    window = stage.window
    return [window.header.rehearsal, window.panel.speed.rehearsal, window.panel.plot_rehearsal]


def shown(stage: Stage) -> list[str]:
    """The texts of the badges that can be seen, in the header, at the numbers, at the plot."""
    return [badge.text() for badge in badges(stage) if badge.isVisibleTo(stage.window)]


def settled(stage: Stage) -> None:
    """The slow clock of the numbers has struck."""
    stage.qtbot.waitUntil(lambda: not stage.window.panel.speed._slow_clock.isActive())


def test_a_measured_pair_shows_no_badge(stage: Stage) -> None:
    stage.send_and_wait("Hello?")
    settled(stage)
    assert shown(stage) == []
    assert stage.window.windowTitle() == "Hello? — chatapp"


def test_a_rehearsed_pair_says_so_before_and_after_a_reply(stage: Stage) -> None:
    rehearse(stage)
    assert shown(stage) == [REHEARSAL_TITLE]
    assert stage.window.windowTitle() == f"{REHEARSAL_TITLE} — chatapp"
    stage.send_and_wait("Hello?")
    settled(stage)
    assert shown(stage) == [REHEARSAL_TITLE, REHEARSAL_TITLE, "simulated"]
    assert stage.window.windowTitle() == f"Hello? — {REHEARSAL_TITLE} — chatapp"
    assert reply_summary(stage.record)[0] == REHEARSAL
    assert describe_bar(stage.window.panel.plot.bars()[0])[-1] == REHEARSAL
    for badge in badges(stage):
        for words in ("paced as Llama-2-70B + Llama-2-7B", "target 20.6 ms, draft 3.7 ms", "assumed"):
            assert words in " ".join(badge.toolTip().split())
    assert stage.window.header._chips["device"].text() == "as trn1.32xlarge"


@pytest.mark.parametrize("theme", [ThemeChoice.LIGHT, ThemeChoice.DARK])
@pytest.mark.parametrize("size", SIZES, ids=[f"{wide}x{high}" for wide, high in SIZES])
def test_the_badge_is_whole_in_every_size(stage: Stage, theme: ThemeChoice, size: tuple[int, int]) -> None:
    stage.theme.set_choice(theme)
    rehearse(stage)
    stage.window.resize(*size)
    stage.send_and_wait("Hello?")
    badge = stage.window.header.rehearsal
    place = QRect(badge.mapTo(stage.window, badge.rect().topLeft()), badge.size())
    assert stage.window.rect().contains(place)
    assert badge.width() >= badge.fontMetrics().horizontalAdvance(REHEARSAL_TITLE)
    assert badge.visibleRegion().boundingRect() == badge.rect()
    painted = badge.grab().toImage()
    assert painted.pixelColor(painted.width() // 2, 3) == stage.theme.tokens.warning_soft


def test_a_session_of_both_kinds_has_no_times_and_says_which(stage: Stage) -> None:
    stage.send_and_wait("measured")
    rehearse(stage)
    stage.send_and_wait("rehearsed")
    settled(stage)
    assert shown(stage) == [REHEARSAL_TITLE, REHEARSAL_TITLE, "simulated: reply 2"]
    speed = stage.window.panel.speed
    for row in ("TPOT", "TTFT", "Tokens / s"):
        reply, session = speed.shown(row)
        assert reply != "–"
        assert session == "–"
    assert speed.shown("Mean accept. length")[1] != "–"
    assert "Their times are not put together" in " ".join(speed.rehearsal.toolTip().split())
    measure(stage)
    stage.send_and_wait("measured again")
    settled(stage)
    assert shown(stage) == [REHEARSAL_TITLE, f"Session: partly {REHEARSAL}", "simulated: reply 2"]
    stage.desk.new_chat()
    assert shown(stage) == []
    assert stage.window.windowTitle() == "chatapp"


def test_a_record_that_is_opened_again_shows_the_badge(stage: Stage, tmp_path: Path) -> None:
    script = RunScript("Story", window=3, device=PAIR.device).first("Once").verify([" upon", " a"], " time")
    path = tmp_path / "rehearsed.json"
    path.write_text(JsonExporter().render(conversation(script.end().turn())), encoding="utf-8")
    assert shown(stage) == []
    with stage.qtbot.waitSignal(stage.files.opened):
        stage.files.open_record(path)
    assert shown(stage) == [REHEARSAL_TITLE, REHEARSAL_TITLE, "simulated"]
    assert REHEARSAL_TITLE in stage.window.windowTitle()


def test_a_slow_computer_is_told_below_the_reply_and_not_in_a_banner(stage: Stage) -> None:
    script = RunScript("Story", device=PAIR.device).first("Once").notice("device", LATE).end()
    stage.chat.show_conversation(conversation(script.turn()))
    assert [notice.message for notice in stage.chat.records[-1].notices] == [LATE]
    stage.desk._show_notice("device", LATE)
    assert stage.banner == ""


def test_the_device_page_tells_what_stands_behind_it(stage: Stage) -> None:
    rehearse(stage)
    stage.window.panel.show_page(2)
    text = stage.window.panel.device.text
    for words in ("trn1.32xlarge", "simulated device", "20.6 ms", "AWS Machine Learning Blog", "assumed"):
        assert words in text


def test_the_command_line_rehearses_without_preparing_anything(tmp_path: Path) -> None:
    """The real window in a process of its own, with the built-in pair: the picture, and what the store kept."""
    picture, data = tmp_path / "window.png", tmp_path / "data"
    command = [sys.executable, "-m", "chatapp", "--data-dir", str(data), "--rehearse", "trn1.32xlarge"]
    command += ["--prompt", "What is 2 + 3?", "--size", "1280x800", "--screenshot", str(picture)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert picture.stat().st_size > 10_000
    store = SqliteStore(data / "conversations.sqlite", lambda _: None)
    kept = store.latest()
    store.close()
    assert kept is not None
    [turn] = kept.turns
    assert turn.record.started is not None
    assert turn.record.started.environment.device == PAIR.device
    assert turn.record.simulated
    tpot_s = run_metrics(turn.record).tpot_s
    assert tpot_s is not None
    # A window of 5 takes four drafts and a pass of eight rows, and gives five tokens at the most.
    assert tpot_s * 1e3 > (4 * PAIR.draft.token_ms + PAIR.target.window_ms(8)) / 5 - 1
    assert not (data / "neuron").exists()
