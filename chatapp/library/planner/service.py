"""The planner as the window asks it: an implementation of `ports.PlannerPort`. Must not know the window."""

from __future__ import annotations

from chatapp.domain.memory_plan import PairPlan
from chatapp.domain.neuron import NeuronSettings
from chatapp.domain.neuron_hosts import HOSTS, neuron_host
from chatapp.domain.ports import PairLocation
from chatapp.library.host.device_checks import instance_type
from chatapp.library.host.machine import Host
from chatapp.library.host.sysfs import neuron_present, read_chips
from chatapp.library.planner.planning import PairRequest
from chatapp.library.planner.shapes import shape_of_directory
from chatapp.library.planner.suggestions import planned


class MemoryPlanner:
    """`machine` is the computer whose files say what it is, None for this one."""

    def __init__(self, machine: Host | None = None) -> None:
        self._machine = machine

    def instance_here(self) -> str:
        machine = self._machine or Host.here()
        found = instance_type(machine, read_chips(machine)) if neuron_present(machine) else ""
        return found if found in {host.name for host in HOSTS} else ""

    def plan(self, pair: PairLocation, instance: str) -> PairPlan:
        target = shape_of_directory(pair.target)
        draft = shape_of_directory(pair.draft) if pair.draft is not None else None
        settings = pair.neuron or NeuronSettings()
        request = PairRequest(
            target, draft, neuron_host(instance), settings, pair.target_weights, pair.draft_weights
        )
        return planned(request)
