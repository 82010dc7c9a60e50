"""Simpler forms of one fault, for shrinking."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from wavetank.faults.plan import At, PlannedFault


def simplest(fault: PlannedFault, fails: Callable[[PlannedFault], bool]) -> PlannedFault:
    """The simplest form of the fault found to fail: parameters at their defaults, times at whole seconds, no end of its own."""
    for name in fault.parameters:
        left = {key: value for key, value in fault.parameters.items() if key != name}
        fault = _kept(fault, attrs.evolve(fault, parameters=left), fails)
    if isinstance(fault.at, At):
        at = At(seconds=float(round(fault.at.seconds)))
        fault = _kept(fault, attrs.evolve(fault, at=at), fails)
    if fault.seconds is not None:
        fault = _kept(fault, attrs.evolve(fault, seconds=None), fails)
    if fault.seconds is not None:
        seconds = float(max(1, round(fault.seconds)))
        fault = _kept(fault, attrs.evolve(fault, seconds=seconds), fails)
    return fault


def _kept(
    fault: PlannedFault, simpler: PlannedFault, fails: Callable[[PlannedFault], bool]
) -> PlannedFault:
    return simpler if simpler != fault and fails(simpler) else fault
