"""Client-side apply: the three-way merge of what was applied last, what is applied now, and what is there.

    last applied  {replicas: 2, paused: true}      now  {replicas: 3}      live  {replicas: 2, paused: true, selector: ...}
    result        {replicas: 3, selector: ...}

What was applied last and is no longer named is removed; what is named now is set; what others set stays. Lists with a merge key (a
pod's containers by name) are merged element by element, all others are replaced. The order of a merged list is that of the
manifest, and elements that only the live object has keep their place behind the neighbour they followed.

Pure functions on JSON values (kubectl's `CreateThreeWayMergePatch`, applied at once).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from engine.api.mergekeys import Shape
from engine.objects.base import Json

LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"


class MergeError(ValueError):
    """The manifest cannot be merged; the message says where."""


def three_way(
    last: Mapping[str, Json], now: Mapping[str, Json], live: Mapping[str, Json], shape: Shape
) -> dict[str, Json]:
    """The live object as the manifest `now` wants it. Raises MergeError."""
    result: dict[str, Json] = {
        key: value for key, value in live.items() if key in now or key not in last
    }
    for key, wanted in now.items():
        if wanted is None:
            result.pop(key, None)
        elif key in live:
            result[key] = _merge_field(key, last.get(key), wanted, live[key], shape)
        else:
            result[key] = without_nulls(wanted)
    return result


def without_nulls(value: Json) -> Json:
    """A value as it is stored: a null stands for nothing."""
    if isinstance(value, dict):
        return {key: without_nulls(part) for key, part in value.items() if part is not None}
    if isinstance(value, list):
        return [without_nulls(part) for part in value]
    return value


def _merge_field(key: str, last: Json, now: Json, live: Json, shape: Shape) -> Json:
    if isinstance(now, dict) and isinstance(live, dict):
        before = last if isinstance(last, dict) else {}
        retain = key in shape.retain
        return _merge_map(before, now, live, shape.child(key), retain=retain)
    if isinstance(now, list) and isinstance(live, list):
        before_list = last if isinstance(last, list) else []
        if key in shape.keys:
            return _merge_list(key, before_list, now, live, shape)
        if key in shape.values:
            return _merge_values(before_list, now, live)
    return without_nulls(now)


def _merge_map(
    last: Mapping[str, Json],
    now: Mapping[str, Json],
    live: Mapping[str, Json],
    shape: Shape,
    *,
    retain: bool,
) -> Json:
    merged = three_way(last, now, live, shape)
    if retain and merged != dict(live):
        return {key: value for key, value in merged.items() if key in now}
    return merged


def _merge_list(
    field: str, last: list[Json], now: list[Json], live: list[Json], shape: Shape
) -> list[Json]:
    name = shape.keys[field]
    child = shape.child(field)
    before = _keyed(field, last, name)
    wanted = _keyed(field, now, name)
    present = _keyed(field, live, name)
    merged: dict[str, Json] = {}
    for key, element in wanted.items():
        if key in present:
            merged[key] = _merge_map(
                before.get(key, {}), element, present[key], child, retain=field in shape.retain
            )
        else:
            merged[key] = without_nulls(dict(element))
    others = {k: dict(v) for k, v in present.items() if k not in wanted and k not in before}
    return _in_order(list(merged), merged, list(present), others)


def _in_order(
    wanted: list[str],
    merged: Mapping[str, Json],
    present: list[str],
    others: Mapping[str, Mapping[str, Json]],
) -> list[Json]:
    """The manifest's elements in its order; each of the others behind the element it followed."""
    followers: dict[str, list[Json]] = {}
    before = ""
    for key in present:
        if key in merged:
            before = key
        elif key in others:
            followers.setdefault(before, []).append(dict(others[key]))
    result = followers.get("", [])
    for key in wanted:
        result = [*result, merged[key], *followers.get(key, [])]
    return result


def _keyed(field: str, elements: list[Json], name: str) -> dict[str, dict[str, Json]]:
    """The elements by their merge key (as JSON text, so that 80 and "80" stay apart)."""
    found: dict[str, dict[str, Json]] = {}
    for element in elements:
        if not isinstance(element, dict) or name not in element:
            shown = json.dumps(element, sort_keys=True)
            raise MergeError(f"{field}: map: {shown} does not contain declared merge key: {name}")
        found[json.dumps(element[name])] = element
    return found


def _merge_values(last: list[Json], now: list[Json], live: list[Json]) -> list[Json]:
    """A set of plain values: what is wanted, and what others added."""
    return [value for value in live if value in now or value not in last] + [
        value for value in now if value not in live
    ]


def with_last_applied(manifest: Mapping[str, Json]) -> dict[str, Json]:
    """The manifest with its own text in the annotation that the next apply compares with."""
    metadata = manifest.get("metadata")
    metadata = dict(metadata) if isinstance(metadata, dict) else {}
    given = metadata.get("annotations")
    annotations = dict(given) if isinstance(given, dict) else {}
    annotations.pop(LAST_APPLIED, None)
    plain: dict[str, Json] = {
        **manifest,
        "metadata": {**metadata, "annotations": dict(annotations)},
    }
    text = json.dumps(plain, separators=(",", ":"), sort_keys=True, ensure_ascii=False) + "\n"
    annotations[LAST_APPLIED] = text
    return {**manifest, "metadata": {**metadata, "annotations": annotations}}


def last_applied(live: Mapping[str, Json]) -> dict[str, Json]:
    """The manifest that the live object was applied from; empty when it was not applied. Raises MergeError."""
    metadata = live.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    text = annotations.get(LAST_APPLIED) if isinstance(annotations, dict) else None
    if not isinstance(text, str) or not text.strip():
        return {}
    try:
        manifest = json.loads(text)
    except ValueError as error:
        raise MergeError(f"the annotation {LAST_APPLIED} is no JSON: {error}") from error
    if not isinstance(manifest, dict):
        raise MergeError(f"the annotation {LAST_APPLIED} is no object")
    return manifest
