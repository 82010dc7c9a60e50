"""Objects of kinds without a class: typed metadata, and the rest as the JSON it came as."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from engine.objects.base import EMPTY_EXTRA, Json
from engine.objects.meta import ObjectMeta


@attrs.frozen(kw_only=True)
class Unstructured:
    """A custom object that was registered without an attrs class.

    `body` is everything but apiVersion, kind and metadata. It is shared like every object: read it, and change the object with
    `attrs.evolve(obj, body={**obj.body, "spec": ...})`.
    """

    api_version: str
    kind: str
    metadata: ObjectMeta = ObjectMeta()  # noqa: RUF009 -- frozen, and so safely shared
    body: Mapping[str, Json] = EMPTY_EXTRA
