"""The JSON Schema of an experiment file (draft 2020-12), as data; `wavetank schema` prints it.

The schema says what shape the file has. What a text must look like inside (durations, quantities, selectors) is
checked by the loader with the code that reads it.
"""

from __future__ import annotations

from typing import Final

from engine import Json

DURATION: Final[Json] = {
    "type": "string",
    "description": "a duration such as 500ms, 90s, 5m or 1h30m",
}
RANGE: Final[Json] = {
    "type": "string",
    "description": "a duration, or a range of durations such as 1s..5s that is drawn from",
}
QUANTITY: Final[Json] = {
    "type": ["string", "integer", "number"],
    "description": "a Kubernetes quantity such as 500m or 8Gi",
}
STRING: Final[Json] = {"type": "string", "minLength": 1}
STRING_MAP: Final[Json] = {"type": "object", "additionalProperties": {"type": "string"}}


def _object(required: list[str], /, **properties: Json) -> dict[str, Json]:
    listed: list[Json] = list(required)
    return {
        "type": "object",
        "additionalProperties": False,
        "required": listed,
        "properties": properties,
    }


def _one_of(**alternatives: Json) -> dict[str, Json]:
    """An object with exactly one of these keys."""
    return {
        "type": "object",
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
        "properties": alternatives,
    }


TAINT: Final = _object(
    ["key", "effect"],
    key=STRING,
    value={"type": "string"},
    effect={"enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"]},
)
NODE_GROUP: Final = _object(
    ["prefix", "count"],
    prefix={
        "type": "string",
        "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        "description": "a name such as worker: nodes are called PREFIX-0 ... PREFIX-(count-1)",
    },
    count={"type": "integer", "minimum": 1},
    zone=STRING,
    region=STRING,
    capacity={"type": "object", "additionalProperties": QUANTITY},
    labels=STRING_MAP,
    taints={"type": "array", "items": TAINT},
)
IMAGE: Final = _object(
    ["match"],
    match={
        "type": "string",
        "minLength": 1,
        "description": "a shell pattern over the image name; the first rule that matches counts",
    },
    pull=RANGE,
    start=RANGE,
    readyAfter=RANGE,
    runs=RANGE,
    exitCode={"type": "integer", "minimum": 0, "maximum": 255},
    memory=QUANTITY,
)
CHECK: Final = _one_of(
    deploymentAvailable=_object(["name"], namespace=STRING, name=STRING),
    podsReady=_object(
        ["selector", "count"],
        namespace=STRING,
        selector={"type": "string"},
        count={"type": "integer", "minimum": 0},
    ),
    nodeReady=_object(["name"], name=STRING),
    python={
        "type": "string",
        "pattern": r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$",
        "description": "MODULE:FUNCTION, beside this file or importable, called with a read-only view",
    },
)
CODE: Final[Json] = {
    "type": "string",
    "pattern": r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$",
    "description": "MODULE:NAME, beside this file or importable",
}
AFTER: Final = _object(
    ["kind"],
    kind=STRING,
    change={"enum": ["created", "updated", "deleted"]},
    occurrence={"type": "integer", "minimum": 1},
    namespace=STRING,
    name=STRING,
    wait=DURATION,
)
TARGETS: Final = _object(
    [],
    names={"type": "array", "minItems": 1, "items": STRING},
    selector=STRING,
    zone=STRING,
    mode={"enum": ["one", "all", "fixed", "percent"]},
    value={"type": "number", "minimum": 0},
)
FAULT: Final[dict[str, Json]] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["type"],
    "properties": {
        "type": {"type": "string", "minLength": 1, "description": "a fault of docs/chaos.md"},
        "at": RANGE,
        "after": AFTER,
        "target": {
            "type": ["string", "object"],
            "description": "a name, or a map of names, selector, zone, mode and value",
        },
        "for": RANGE,
        "parameters": {"type": "object"},
    },
}
_BUSIEST: Final[Json] = {"const": True, "description": "the node with the most pods, chosen once"}
NODE_TARGET: Final[dict[str, Json]] = {
    "type": "object",
    "additionalProperties": False,
    "minProperties": 1,
    "maxProperties": 1,
    "properties": {"name": STRING, "busiest": _BUSIEST},
}
NODE_TARGET_FOR: Final[dict[str, Json]] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["for"],
    "minProperties": 2,
    "maxProperties": 2,
    "properties": {"name": STRING, "busiest": _BUSIEST, "for": DURATION},
}
RESTART_TARGET: Final[dict[str, Json]] = {
    "type": "object",
    "additionalProperties": False,
    "oneOf": [{"required": ["name"]}, {"required": ["busiest"]}],
    "properties": {
        "name": STRING,
        "busiest": _BUSIEST,
        "containers": {"enum": ["lost", "kept"], "description": "what the reboot does to them"},
    },
}
ACTIONS: Final[dict[str, Json]] = {
    "crashNode": NODE_TARGET,
    "restartNode": RESTART_TARGET,
    "partitionNode": NODE_TARGET_FOR,
    "pauseKubelet": NODE_TARGET_FOR,
    "scale": _object(
        ["deployment", "replicas"],
        namespace=STRING,
        deployment=STRING,
        replicas={"type": "integer", "minimum": 0},
    ),
    "apply": {"type": "string", "minLength": 1, "description": "a manifest, relative to this file"},
    "delete": _object(
        ["kind"], kind=STRING, namespace=STRING, name=STRING, selector={"type": "string"}
    ),
    "cordon": _object(["node"], node=STRING),
    "uncordon": _object(["node"], node=STRING),
    "restartReconciler": _object(["name"], name=STRING),
}
ACTION: Final[dict[str, Json]] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["at"],
    "minProperties": 2,
    "maxProperties": 2,
    "properties": {"at": DURATION, **ACTIONS},
}

SCHEMA: Final[dict[str, Json]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "wavetank/v1/Experiment",
    "title": "Experiment",
    "type": "object",
    "additionalProperties": False,
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "wavetank/v1"},
        "kind": {"const": "Experiment"},
        "metadata": _object(["name"], name=STRING, labels=STRING_MAP, annotations=STRING_MAP),
        "spec": _object(
            ["cluster"],
            seed={"type": "integer", "minimum": 0},
            cluster=_object(
                ["nodes"],
                nodes={"type": "array", "minItems": 1, "items": NODE_GROUP},
                settings={"type": "object"},
                apiServers={"type": "integer", "minimum": 1},
                kinds={"type": "array", "items": CODE},
                reconcilers={"type": "array", "items": CODE},
            ),
            manifests={"type": "array", "items": STRING},
            images={"type": "array", "items": IMAGE},
            steadyState={"type": "array", "items": CHECK},
            method={"type": "array", "items": ACTION},
            faults={"type": "array", "items": FAULT},
            invariants={"type": "array", "items": STRING},
            settleTimeout=DURATION,
            until=DURATION,
        ),
    },
}
