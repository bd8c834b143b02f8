"""The one place where widgets and controllers meet: every signal of the window's parts is connected here.

It owns no state but the message that is on its way. It must not know a model, a file format or a database.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QGuiApplication

from chatapp.domain.errors import ChatappError, EngineBusy, EngineNotReady, NotPrepared
from chatapp.domain.events import EndReason
from chatapp.domain.metrics import recent_windows
from chatapp.domain.ports import LoadProgress, PairInfo, PairLocation, PlannerPort
from chatapp.domain.record import Conversation, RunRecord
from chatapp.domain.request import FIXED_POLICY
from chatapp.ui.composer import Draft
from chatapp.ui.controllers.chat import DEFAULT_DRAFTER, ChatController, ChatState, RequestSettings
from chatapp.ui.controllers.files import FileController
from chatapp.ui.controllers.pair import PairController
from chatapp.ui.controllers.preparation import PreparationController
from chatapp.ui.controllers.prepare_flow import PrepareFlow
from chatapp.ui.dialogs.about_dialog import AboutDialog
from chatapp.ui.dialogs.help_viewer import HelpViewer
from chatapp.ui.dialogs.pair_dialog import PairDialog
from chatapp.ui.main_window import MainWindow
from chatapp.ui.text_hygiene import readable
from chatapp.ui.theme import themed_children
from chatapp.ui.widgets.banner import Severity

THREADS_CHANGED = "threads"
DEVICE_REMARK = "device"
NO_DRAFT = "This pair has no draft model: every token comes from the target."
STATE_WORDS = {
    ChatState.IDLE: "Ready",
    ChatState.STARTING: "Reading the prompt…",
    ChatState.RUNNING: "Writing…",
    ChatState.STOPPING: "Stopping…",
}


class Desk(QObject):
    """`reply_ended` carries the finished `RunRecord`, after the screen shows it."""

    reply_ended = Signal(object)

    def __init__(
        self,
        window: MainWindow,
        chat: ChatController,
        pairs: PairController,
        files: FileController,
        preparations: PreparationController,
        planner: PlannerPort,
        builtin: PairLocation,
    ) -> None:
        super().__init__(window)
        self._window = window
        self._chat = chat
        self._pairs = pairs
        self._files = files
        self._preparations = preparations
        self._planner = planner
        self._builtin = builtin
        self._on_its_way: Draft | None = None
        self._guide: HelpViewer | None = None
        self._prepare_flow = PrepareFlow(window, chat, pairs, preparations)
        self._connect_composer()
        self._connect_chat()
        self._connect_pairs()
        self._connect_files()
        self._connect_actions()
        chat.set_window(window.composer.window_slider.value())
        chat.set_speculation(window.composer.speculation.isChecked())
        self._show_state(chat.state)

    def _connect_composer(self) -> None:
        composer = self._window.composer
        composer.submitted.connect(self.submit)
        composer.stop_requested.connect(self._chat.stop)
        composer.window_changed.connect(self._chat.set_window)
        composer.speculation_changed.connect(self._chat.set_speculation)
        composer.auto_changed.connect(self._choose_policy)
        self._window.sampling.changed.connect(self._on_sampling_changed)
        self._window.welcome.chosen.connect(self.send_text)
        transcript, token = self._window.transcript, self._window.panel.token
        transcript.token_hovered.connect(token.show_hovered)
        transcript.token_selected.connect(token.show_selected)

    def _connect_chat(self) -> None:
        chat, panel = self._chat, self._window.panel
        chat.conversation_replaced.connect(self._window.show_conversation)
        chat.turn_begun.connect(self._show_turn)
        chat.record_changed.connect(self._window.transcript.record_changed)
        chat.record_changed.connect(self._window.show_provenance)
        chat.record_changed.connect(panel.speed.record_changed)
        chat.record_changed.connect(panel.plot.record_changed)
        chat.record_changed.connect(self._show_prefill)
        chat.run_ended.connect(self._on_run_ended)
        chat.state_changed.connect(self._show_state)
        chat.taken.connect(self._on_taken)
        chat.refused.connect(self._on_refused)
        chat.failed.connect(self._on_failed)
        chat.record_changed.connect(self._show_used_window)
        chat.noticed.connect(self._show_notice)

    def _connect_pairs(self) -> None:
        self._pairs.progressed.connect(self._show_progress)
        self._pairs.loaded.connect(self._show_pair)
        self._pairs.failed.connect(self._on_load_failed)
        self._window.header.pair_clicked.connect(self.ask_pair)

    def _connect_files(self) -> None:
        self._files.exported.connect(self._on_exported)
        self._files.opened.connect(self._on_opened)
        self._files.failed.connect(self._window.banner.show_error)

    def _connect_actions(self) -> None:
        acts, composer = self._window.actions_, self._window.composer
        acts.new_chat.triggered.connect(self.new_chat)
        acts.open_record.triggered.connect(self._files.ask_open)
        acts.export.triggered.connect(self._files.ask_export)
        acts.open_pair.triggered.connect(self.ask_pair)
        acts.quit.triggered.connect(self._window.close)
        acts.copy_reply.triggered.connect(self._copy_reply)
        acts.send.triggered.connect(lambda: self.submit(composer.draft().whole))
        acts.stop.triggered.connect(self._chat.stop)
        acts.speculation.setChecked(composer.speculation.isChecked())
        acts.speculation.toggled.connect(composer.speculation.setChecked)
        composer.speculation.toggled.connect(acts.speculation.setChecked)
        acts.auto.setChecked(composer.auto.isChecked())
        acts.auto.toggled.connect(composer.auto.setChecked)
        composer.auto.toggled.connect(acts.auto.setChecked)
        acts.window_up.triggered.connect(lambda: composer.window_slider.step_by(1))
        acts.window_down.triggered.connect(lambda: composer.window_slider.step_by(-1))
        acts.guide.triggered.connect(self._show_guide)
        acts.about.triggered.connect(self._show_about)

    # Sending

    def submit(self, text: str) -> None:
        """Send `text`, which stands in the composer and stays there until the engine has taken it."""
        if self._pairs.info is None:
            self._on_refused(
                EngineNotReady(
                    "The pair is still loading." if self._pairs.loading else "No pair is loaded.",
                    kept="Your text is still in the box.",
                    remedy="Send it once the header says Ready."
                    if self._pairs.loading
                    else "Open one with Ctrl+P.",
                )
            )
            return
        pending = self._window.panel.sampling.pending_error()
        if pending is not None:
            pending.kept = "Your text is still in the box."
            pending.remedy = "Correct it in the Sampling panel."
            self._window.actions_.panel.setChecked(True)
            self._window.panel.show_page(1)
            self._on_refused(pending)
            return
        sampling = self._window.sampling
        sampling.before_request()
        self._on_its_way = self._window.composer.draft()
        self._window.banner.clear()
        self._chat.submit(
            text,
            RequestSettings(
                sampling.settings,
                sampling.acceptor,
                sampling.system_prompt,
                sampling.drafter or DEFAULT_DRAFTER,
            ),
        )
        self._window.save_settings()  # here too, not on close alone: a process that is killed forgets nothing

    def send_text(self, text: str) -> None:
        """Put `text` into an empty box and send it; a box that is in use is left alone."""
        if self._window.composer.is_empty():
            self._window.composer.put_text(text)
        self._window.composer.edit.setFocus()
        self.submit(self._window.composer.draft().whole)

    def _on_taken(self) -> None:
        """Clear what was sent, and keep what was typed since."""
        sent, composer = self._on_its_way, self._window.composer
        self._on_its_way = None
        now = composer.draft()
        if sent is None:
            return
        if now == sent:
            composer.clear()
        elif now.typed.startswith(sent.typed) and now.pastes == sent.pastes:
            composer.set_draft(Draft(now.typed[len(sent.typed) :].lstrip("\n"), ()))

    def _on_refused(self, error: ChatappError) -> None:
        self._window.banner.show_error(error)
        self._window.composer.edit.setFocus()

    def _on_failed(self, error: ChatappError, prompt: str) -> None:
        if self._window.composer.is_empty():
            self._window.composer.put_text(prompt)
            error.kept = f"{error.kept} Your message is back in the box."
        self._window.banner.show_error(error)

    # Showing

    def _show_turn(self, prompt: str, record: RunRecord) -> None:
        self._window.pages.setCurrentWidget(self._window.transcript)
        self._window.transcript.begin_turn(prompt, record)
        self._window.show_records(self._chat.conversation)

    def _show_prefill(self) -> None:
        """Until the first token the header says how far the prompt is read."""
        if self._chat.state is not ChatState.RUNNING:
            return
        record = self._chat.records[-1]
        if record.steps:
            self._window.header.show_state(STATE_WORDS[ChatState.RUNNING])
        elif record.progress is not None:
            done, total = record.progress.done, record.progress.total
            words = f"Reading the prompt, {done:,} of {total:,} tokens"
            self._window.header.show_loading("", LoadProgress(done / max(total, 1), words))

    def _show_used_window(self) -> None:
        self._window.composer.show_used_window(recent_windows(self._chat.records[-1]))

    def _show_notice(self, code: str, text: str) -> None:
        if code == DEVICE_REMARK:
            return  # below its reply it says enough
        severity = Severity.INFO if code == THREADS_CHANGED else Severity.WARNING
        self._window.banner.show_message(severity, text)

    def _choose_policy(self) -> None:
        automatic = self._window.composer.auto.isChecked() and bool(self._window.sampling.auto_policy)
        self._chat.set_policy(self._window.sampling.auto_policy if automatic else FIXED_POLICY)

    def _on_sampling_changed(self) -> None:
        """Acceptor and policy take effect in a running reply; everything else belongs to the next request."""
        self._chat.set_acceptor(self._window.sampling.acceptor)
        self._choose_policy()

    def _on_run_ended(self, record: RunRecord) -> None:
        if record.ended is not None and record.ended.reason is EndReason.CONTEXT_FULL:
            self._window.banner.show_message(
                Severity.WARNING,
                "The model's context is full: the reply ends here.",
                "Start a new chat (Ctrl+N) to go on.",
            )
        self.reply_ended.emit(record)

    def _show_state(self, state: ChatState) -> None:
        busy = state is not ChatState.IDLE
        self._window.composer.set_running(busy, stopping=state is ChatState.STOPPING)
        self._window.actions_.stop.setEnabled(busy)
        if self._pairs.info is not None and not self._pairs.loading:
            self._window.header.show_state(STATE_WORDS[state])

    def _copy_reply(self) -> None:
        text = self._chat.records[-1].text if self._chat.records else ""
        if not text:
            self._window.banner.show_message(Severity.INFO, "There is no reply to copy yet.")
            return
        QGuiApplication.clipboard().setText(text)
        self._window.banner.show_message(Severity.INFO, "The last reply is on the clipboard.")

    # Pairs

    def ask_pair(self) -> None:
        if self._refused_while_busy() or self._pairs.loading:
            return
        dialog = PairDialog(self._builtin, self._planner, self._window, in_use=self._pairs.info)
        for child in themed_children(dialog):
            child.set_tokens(self._window.header.tokens)
        dialog.chosen.connect(self._pairs.load)
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    def _show_progress(self, name: str, progress: LoadProgress) -> None:
        self._window.header.show_loading(name, progress)

    def _show_pair(self, info: PairInfo) -> None:
        composer, capabilities = self._window.composer, info.capabilities
        self._window.show_pair(info)
        composer.window_slider.set_stops(capabilities.windows)
        composer.window_slider.set_compiled(capabilities.compiled_windows)
        composer.set_can_speculate(capabilities.can_speculate, NO_DRAFT)
        for action in (
            self._window.actions_.speculation,
            self._window.actions_.window_up,
            self._window.actions_.window_down,
        ):
            action.setEnabled(capabilities.can_speculate)
        policy = next(
            (part for part in capabilities.policies if part[0] == self._window.sampling.auto_policy), None
        )
        composer.set_auto(policy)
        self._window.actions_.auto.setEnabled(composer.auto.isEnabled())
        self._choose_policy()
        self._tell_plugin_errors(capabilities.plugin_errors)

    def _tell_plugin_errors(self, errors: Sequence[tuple[str, str]]) -> None:
        if errors:
            name, why = errors[0]
            more = f" {len(errors) - 1} more: see Open pair (Ctrl+P)." if len(errors) > 1 else ""
            self._window.banner.show_message(
                Severity.WARNING,
                f"The plugin {readable(name, limit=80)} could not be loaded; everything else works.",
                f"{readable(why)}{more}",
            )

    def _on_load_failed(self, error: ChatappError) -> None:
        if not error.remedy:
            error.remedy = "Open another pair (Ctrl+P)."
        self._window.header.show_failure()
        if not (isinstance(error, NotPrepared) and self._preparations.offer(error)):
            self._window.banner.show_error(error)

    # Files and windows

    def new_chat(self) -> None:
        if self._refused_while_busy():
            return
        self._window.banner.clear()
        self._chat.new_chat()
        self._window.composer.edit.setFocus()

    def _on_opened(self, conversation: Conversation, path: Path) -> None:
        if self._refused_while_busy():
            return
        self._chat.show_conversation(conversation)
        self._window.banner.show_message(
            Severity.INFO, f"Opened {path.name}.", "You can read on and continue the chat from here."
        )

    def _on_exported(self, path: Path) -> None:
        self._window.banner.show_message(Severity.INFO, f"Exported to {path.name}.", str(path.parent))

    def _refused_while_busy(self) -> bool:
        if self._chat.state is ChatState.IDLE:
            return False
        self._window.banner.show_error(EngineBusy("A reply is still running.", remedy="Stop it first (Esc)."))
        return True

    def _show_guide(self) -> None:
        if self._guide is None:
            self._guide = HelpViewer(self._window)
        self._guide.show()
        self._guide.raise_()
        self._guide.activateWindow()

    def _show_about(self) -> None:
        dialog = AboutDialog(self._window, self._window.display.explanation)
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()
