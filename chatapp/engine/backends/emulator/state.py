"""The one simulated instance of this process. A process has one runtime and one set of cores, so this is no model's own."""

from __future__ import annotations

from chatapp.engine.backends.emulator.device import Behaviour, Device
from chatapp.engine.backends.emulator.launch_log import LaunchLog

behaviour = Behaviour()
launches = LaunchLog()
device = Device(behaviour)


def simulate(instance: str, cores: int, degrees: tuple[int, ...] | None) -> None:
    """From now on this process is a rehearsal on this type of instance: on another one than before it begins anew, as a new
    process would there."""
    if behaviour.instance != instance:
        device.reset()
        behaviour.instance, behaviour.cores, behaviour.allowed_degrees = instance, cores, degrees


def reset() -> None:
    """A fresh process on a fresh instance: default behaviour, free cores, no launch counted, no pacer."""
    behaviour.reset()
    device.reset()
    launches.clear()
    launches.pacer = None
