"""What the `binding` and `scale` subresources take and give; neither is stored."""

from __future__ import annotations

from typing import ClassVar

import attrs

from engine.objects.base import ApiType
from engine.objects.meta import ObjectReference, TypedObject


@attrs.frozen(kw_only=True, repr=False)
class Binding(TypedObject):
    """Puts the pod named by `metadata` on the node named by `target`."""

    api_version: ClassVar[str] = "v1"
    kind: ClassVar[str] = "Binding"

    target: ObjectReference = ObjectReference()  # noqa: RUF009 -- frozen, and so safely shared


@attrs.frozen(kw_only=True, repr=False)
class ScaleSpec(ApiType):
    replicas: int = 0


@attrs.frozen(kw_only=True, repr=False)
class ScaleStatus(ApiType):
    """`selector` is the label selector of the pods, in text form."""

    replicas: int = 0
    selector: str = ""


@attrs.frozen(kw_only=True, repr=False)
class Scale(TypedObject):
    """The one shape in which every scalable kind shows its replicas."""

    api_version: ClassVar[str] = "autoscaling/v1"
    kind: ClassVar[str] = "Scale"

    spec: ScaleSpec = ScaleSpec()
    status: ScaleStatus = ScaleStatus()
