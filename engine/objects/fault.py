"""Fault (wavetank/v1): the record in the log of what was done to the cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import attrs

from engine.objects.base import EMPTY, ApiType, MicroTime
from engine.objects.meta import TypedObject


@attrs.frozen(kw_only=True, repr=False)
class FaultSpec(ApiType):
    """`kind` as an experiment spells it, e.g. crashNode; `target` is what it strikes."""

    kind: str
    target: str
    options: Mapping[str, str] = EMPTY


@attrs.frozen(kw_only=True, repr=False)
class FaultStatus(ApiType):
    """`phase` is Active or Healed."""

    phase: str = ""
    since: MicroTime | None = None
    healed: MicroTime | None = None


@attrs.frozen(kw_only=True, repr=False)
class Fault(TypedObject):
    """A change to a process, link, node, disk or clock, made by the actor `chaos`. Cluster-wide."""

    api_version: ClassVar[str] = "wavetank/v1"
    kind: ClassVar[str] = "Fault"

    spec: FaultSpec
    status: FaultStatus = FaultStatus()
