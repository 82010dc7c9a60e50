"""Loads an experiment: from a file, or from the header of a log that recorded one.

Whatever is wrong is a `BadInput` of one line: FILE:LINE: field.path: what is wrong, what is allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, cast

import attrs

from engine import ManifestError, default_scheme, load_yaml, read_text
from wavetank.errors import BadInput
from wavetank.experiment.assembly import reconcilers_with, scheme_with
from wavetank.experiment.code import Code, read_code
from wavetank.experiment.faults import read_faults
from wavetank.experiment.method import read_method
from wavetank.experiment.model import CodeReference, Experiment, Files, Step
from wavetank.experiment.parts import read_images, read_nodes, read_settings
from wavetank.experiment.reader import Map, Reader
from wavetank.experiment.steady_state import read_checks, read_invariants
from wavetank.experiment.validate import faults
from wavetank.faults.request import FaultRequest

SETTLE_TIMEOUT: Final = 600.0
"""Seconds a cluster may take to settle, by default."""
TAIL: Final = 600.0
"""Seconds after the last step at which an experiment without `until` ends."""


def load_experiment(path: Path | str, *, seed: int | None = None) -> Experiment:
    """Read the experiment at `path`; `seed` replaces the file's. Raises BadInput."""
    path = Path(path)
    texts: dict[str, str] = {}

    def read(name: str) -> str:
        if name not in texts:
            try:
                texts[name] = read_text(path.parent / name)
            except ManifestError as error:
                raise BadInput(str(error)) from None
        return texts[name]

    experiment = _load(path.name, str(path.parent), read, texts)
    return experiment if seed is None else attrs.evolve(experiment, seed=seed)


def restore_experiment(name: str, texts: Mapping[str, str], seed: int) -> Experiment:
    """The experiment that a log's header carries. Raises BadInput."""

    def read(wanted: str) -> str:
        try:
            return texts[wanted]
        except KeyError:
            raise BadInput(f"the log's header lacks the file {wanted}") from None

    experiment = _load(name, "", read, dict(texts))
    return attrs.evolve(experiment, seed=seed)


def _load(name: str, folder: str, read: Callable[[str], str], texts: dict[str, str]) -> Experiment:
    shown = str(Path(folder) / name) if folder else name
    try:
        documents = load_yaml(read(name), shown)
    except ManifestError as error:
        raise BadInput(str(error)) from None
    if len(documents) != 1:
        found = "is empty" if not documents else f"has {len(documents)} documents"
        raise BadInput(f"{shown}:1: {found}; allowed: one Experiment")
    reader = Reader(documents[0], folder, read, texts, default_scheme())
    _check_shape(reader)
    document = cast("Map", reader.document.data)
    spec = cast("Map", document["spec"])
    cluster = cast("Map", spec["cluster"])
    kinds = _code(reader, "kinds", cluster)
    reconcilers = _code(reader, "reconcilers", cluster)
    code = Code(Files(texts=reader.texts, folder=reader.folder))
    if kinds:
        reader.scheme = scheme_with(kinds, code)
    names = [each.name for each in reconcilers_with(reconcilers, code)]
    return _experiment(reader, name, kinds, reconcilers, names)


def _code(reader: Reader, field: str, cluster: Map) -> tuple[CodeReference, ...]:
    """What a list of targets names, their files now part of the experiment. Raises BadInput."""
    found = []
    for index, target in enumerate(cast("list[str]", cluster.get(field, []))):
        read_code(reader, target)
        where = reader.where(("spec", "cluster", field, index))
        found.append(CodeReference(target=target, where=where))
    return tuple(found)


def _check_shape(reader: Reader) -> None:
    """Raises BadInput with the first fault in the file's order."""
    found = [
        (reader.line(path), index, path, message)
        for index, (path, message) in enumerate(faults(reader.document.data))
    ]
    if found:
        _, _, path, message = min(found, key=lambda fault: fault[:2])
        raise reader.fault(path, message)


def _experiment(
    reader: Reader,
    name: str,
    kinds: tuple[CodeReference, ...],
    reconcilers: tuple[CodeReference, ...],
    reconciler_names: list[str],
) -> Experiment:
    document = cast("Map", reader.document.data)
    metadata, spec = cast("Map", document["metadata"]), cast("Map", document["spec"])
    cluster = cast("Map", spec["cluster"])
    nodes = read_nodes(reader, cast("list[Map]", cluster["nodes"]))
    names = {node.name: None for node in nodes}
    manifests = cast("list[str]", spec.get("manifests", []))
    for index, manifest in enumerate(manifests):
        reader.check_manifest(("spec", "manifests", index), manifest)
    method = read_method(reader, cast("list[Map]", spec.get("method", [])), names, reconciler_names)
    requests = read_faults(reader, cast("list[Map]", spec.get("faults", [])))
    return Experiment(
        name=str(metadata["name"]),
        seed=cast("int", spec.get("seed", 0)),
        nodes=nodes,
        settings=read_settings(reader, cast("Map", cluster.get("settings", {}))),
        manifests=tuple(manifests),
        images=read_images(reader, cast("list[Map]", spec.get("images", []))),
        steady_state=read_checks(reader, cast("list[Map]", spec.get("steadyState", [])), names),
        kinds=kinds,
        reconcilers=reconcilers,
        api_servers=cast("int", cluster.get("apiServers", 1)),
        faults=requests,
        method=tuple(sorted(method, key=lambda step: step.at)),
        invariants=read_invariants(reader, cast("list[str]", spec.get("invariants", []))),
        settle_timeout=reader.seconds(
            ("spec", "settleTimeout"), spec, "settleTimeout", SETTLE_TIMEOUT
        ),
        until=_until(reader, spec, method, requests),
        files=Files(texts=reader.texts, folder=reader.folder),
        document=document,
        text_name=name,
    )


def _until(
    reader: Reader, spec: Map, method: list[Step], requests: Sequence[FaultRequest]
) -> float:
    ends = [step.at + getattr(step.action, "seconds", 0.0) for step in method]
    ends += [request.latest_end for request in requests]
    until = reader.seconds(("spec", "until"), spec, "until", max(ends, default=0.0) + TAIL)
    for index, step in enumerate(method):
        if step.at > until:
            what = "is after the end of the experiment; allowed: up to spec.until"
            raise reader.fault(("spec", "method", index, "at"), what)
    return until
