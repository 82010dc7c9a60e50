"""What the pods of one kubelet share: the node's name and runtime, the back-offs, the settings, and the kubelet's clocks."""

from __future__ import annotations

from typing import Final, Self

import attrs

from engine import Draws, Settings, Time
from sim_nodes.backoff import Backoff
from sim_nodes.calendar import Calendar
from sim_nodes.runtime import Runtime
from sim_nodes.texts import Texts
from sim_nodes.units import NS, next_tick, to_ns

_RELIST_SLOTS: Final = 20
"""Phases a kubelet's relist may have, 50 ms apart: what many nodes see at once is handled in one step of the simulation."""


@attrs.define(eq=False, kw_only=True)
class Host:
    """One incarnation of a kubelet, as its pods see it; a kubelet that is started again makes a new one around the old runtime."""

    node: str
    ip: str
    runtime: Runtime
    draws: Draws
    settings: Settings
    texts: Texts
    epoch_us: int
    """Unix microseconds at time 0."""
    started_ns: int
    incarnation: int
    """How often this node's kubelet was started, from 0."""
    relist_ns: int
    relist_phase_ns: int
    container_backoff: Backoff
    image_backoff: Backoff

    @classmethod
    def of(  # noqa: PLR0913 - a kubelet's whole surroundings
        cls,
        runtime: Runtime,
        *,
        ip: str,
        settings: Settings,
        epoch_us: int,
        now: int,
        incarnation: int,
    ) -> Self:
        """A kubelet started at `now` on the node of `runtime`."""
        relist_ns = to_ns(settings.pleg_relist_period)
        phase = runtime.draws.integer(f"kubelet/{runtime.node}/relist", incarnation, _RELIST_SLOTS)
        return cls(
            node=runtime.node,
            ip=ip,
            runtime=runtime,
            draws=runtime.draws,
            settings=settings,
            texts=Texts.of(settings),
            epoch_us=epoch_us,
            started_ns=now,
            incarnation=incarnation,
            relist_ns=relist_ns,
            relist_phase_ns=relist_ns * phase // _RELIST_SLOTS,
            container_backoff=Backoff(
                to_ns(settings.container_backoff_base), to_ns(settings.container_backoff_max)
            ),
            image_backoff=Backoff(
                to_ns(settings.image_backoff_base), to_ns(settings.image_backoff_max)
            ),
        )

    def seen_ns(self, time_ns: int) -> int:
        """When the kubelet sees what happens in the runtime at `time_ns`: at its next relist (6.1.2)."""
        return next_tick(time_ns, period_ns=self.relist_ns, phase_ns=self.relist_phase_ns)

    def looks_ns(self, time_ns: int) -> int:
        """When the sync loop takes up what is due at `time_ns`: it looks once a second (syncCh)."""
        return next_tick(time_ns, period_ns=NS, phase_ns=self.started_ns)

    @property
    def calendar(self) -> Calendar:
        """By how much the machine's clock is wrong."""
        return self.runtime.disturbances.calendar

    def at(self, time_ns: int) -> Time:
        """The calendar time, as statuses carry it."""
        return Time.of(self.epoch_us + time_ns // 1000 + self.calendar.error_us(time_ns))

    def ns_of(self, time: Time) -> int:
        """When the machine's clock shows that calendar time."""
        return self.calendar.ns_of(time - self.epoch_us)
