"""A pair on the emulator as a rehearsal: its launches paced, its device named for what it is.

Shared by the adapters of both libraries; the emulator is imported only where a rehearsal was asked for. Must not know how
either adapter loads a model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatapp.domain.neuron import NeuronSettings
from chatapp.domain.rehearsal import RehearsedPair, rehearsed_pair
from chatapp.engine.contracts import DeviceFacts

if TYPE_CHECKING:
    from chatapp.engine.backends.emulator.pacing import LaunchPacer

UNPACED = "emulated NeuronCores"


def pacing_pair(settings: NeuronSettings) -> RehearsedPair | None:
    """Whose latencies the launches last; None where they are not paced. Raises `InvalidSetting` where none are published."""
    if not (settings.rehearse and settings.rehearse_pair):
        return None
    return rehearsed_pair(settings.rehearse, settings.rehearse_pair)


def emulator_facts(settings: NeuronSettings, versions: tuple[tuple[str, str], ...]) -> DeviceFacts:
    """Of the simulated instance."""
    pair = pacing_pair(settings)
    if pair is None:
        return DeviceFacts(UNPACED, True, versions)
    return DeviceFacts(pair.device, True, versions, _pacer().watch)


def pace(model: object, role: str, settings: NeuronSettings) -> None:
    """Let the launches of a loaded model last as long as the settings say, where they say so."""
    pair = pacing_pair(settings)
    if pair is not None:
        _pacer().assign(model, pair.side(role))


def _pacer() -> LaunchPacer:
    from chatapp.engine.backends.emulator import launches
    from chatapp.engine.backends.emulator.pacing import pacer_of

    return pacer_of(launches)
