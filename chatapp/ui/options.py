"""What the command line of the window says, as one value. It must not know how it was parsed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from chatapp.domain.neuron import NeuronSettings
from chatapp.domain.ports import WEIGHTS, PairLocation
from chatapp.resources import builtin_pair
from chatapp.ui.dialogs.pair_dialog import pair_name


@dataclass(frozen=True, slots=True)
class GuiOptions:
    """The command line of the window; None means: as last time, or the default."""

    target: Path | None = None
    draft: Path | None = None
    target_weights: str = WEIGHTS[0]
    draft_weights: str = WEIGHTS[0]
    theme: str | None = None
    display_mode: str | None = None
    prompt: str | None = None
    replay: Path | None = None
    size: tuple[int, int] | None = None
    data_dir: Path | None = None
    screenshot: Path | None = None
    screenshot_after: str = "done"
    select_token: int | None = None
    neuron: NeuronSettings | None = None

    @property
    def pair(self) -> PairLocation:
        pair = builtin_pair()
        if self.target is not None:
            pair = PairLocation(pair_name(self.target, self.draft), self.target, self.draft)
        return replace(
            pair,
            target_weights=self.target_weights,
            draft_weights=self.draft_weights,
            neuron=self.neuron,
        )
