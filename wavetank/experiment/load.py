"""Loads an experiment: from a file, or from the header of a log that recorded one.

Whatever is wrong is a `BadInput` of one line: FILE:LINE: field.path: what is wrong, what is allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeVar, cast

import attrs

from engine import (
    DurationError,
    DurationRange,
    Json,
    ManifestError,
    Quantity,
    QuantityError,
    Scheme,
    SelectorError,
    Settings,
    Taint,
    UnknownKind,
    YamlDocument,
    default_scheme,
    field_name_outside,
    load_manifests_text,
    load_yaml,
    parse_duration,
    parse_label_selector,
    parse_version,
    read_text,
)
from sim_nodes import ImageBehaviour, SimulatedNode
from wavetank.errors import BadInput
from wavetank.experiment.model import (
    Action,
    ApplyManifest,
    Check,
    CordonNode,
    CrashNode,
    DeleteObjects,
    DeploymentAvailable,
    Experiment,
    Files,
    NodeReady,
    NodeTarget,
    PartitionNode,
    PauseKubelet,
    PodsReady,
    PythonCheck,
    RestartNode,
    RestartReconciler,
    ScaleDeployment,
    Step,
)
from wavetank.experiment.validate import Path as FieldPath
from wavetank.experiment.validate import faults, field_path
from wavetank.invariants import INVARIANTS

SETTLE_TIMEOUT: Final = 600.0
"""Seconds a cluster may take to settle, by default."""
TAIL: Final = 600.0
"""Seconds after the last step at which an experiment without `until` ends."""
DEFAULT_CAPACITY: Final[Mapping[str, Json]] = {"cpu": "4", "memory": "8Gi", "pods": "110"}
"""What a node group without `capacity` has, and what one leaves out of it."""

T = TypeVar("T")
Map = dict[str, Json]


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

    text = read(path.name)
    experiment = _Loader(path.name, str(path.parent), read, texts).load(text)
    return experiment if seed is None else attrs.evolve(experiment, seed=seed)


def restore_experiment(name: str, texts: Mapping[str, str], seed: int) -> Experiment:
    """The experiment that a log's header carries. Raises BadInput."""

    def read(wanted: str) -> str:
        try:
            return texts[wanted]
        except KeyError:
            raise BadInput(f"the log's header lacks the file {wanted}") from None

    experiment = _Loader(name, "", read, dict(texts)).load(read(name))
    return attrs.evolve(experiment, seed=seed)


@attrs.define
class _Loader:
    name: str
    folder: str
    read: Callable[[str], str]
    texts: dict[str, str]
    document: YamlDocument = attrs.field(init=False)
    scheme: Scheme = attrs.field(factory=default_scheme)

    def load(self, text: str) -> Experiment:
        try:
            documents = load_yaml(text, self._shown(self.name))
        except ManifestError as error:
            raise BadInput(str(error)) from None
        if len(documents) != 1:
            found = "is empty" if not documents else f"has {len(documents)} documents"
            raise BadInput(f"{self._shown(self.name)}:1: {found}; allowed: one Experiment")
        self.document = documents[0]
        self._check_shape()
        return self._experiment(cast("Map", self.document.data))

    def _shown(self, name: str) -> str:
        return str(Path(self.folder) / name) if self.folder else name

    def _check_shape(self) -> None:
        found = [
            (self.document.line(field_path(path)), index, path, message)
            for index, (path, message) in enumerate(faults(self.document.data))
        ]
        if found:
            _, _, path, message = min(found, key=lambda fault: fault[:2])
            raise self._fault(path, message)

    def _fault(self, path: FieldPath, message: str) -> BadInput:
        where = field_path(path)
        line = self.document.line(where)
        at = f" {where}:" if where else ""
        return BadInput(f"{self._shown(self.name)}:{line}:{at} {message}")

    def _read(self, path: FieldPath, parse: Callable[[str], T], value: Json) -> T:
        """A text read by the code that knows its form. Raises BadInput."""
        try:
            return parse(str(value))
        except (DurationError, QuantityError, SelectorError, UnknownKind, ValueError) as error:
            raise self._fault(path, str(error)) from None

    def _experiment(self, document: Map) -> Experiment:
        metadata, spec = cast("Map", document["metadata"]), cast("Map", document["spec"])
        cluster = cast("Map", spec["cluster"])
        nodes = self._nodes(cast("list[Map]", cluster["nodes"]))
        method = self._method(cast("list[Map]", spec.get("method", [])), nodes)
        ends = [step.at + getattr(step.action, "seconds", 0.0) for step in method]
        until = self._seconds(("spec", "until"), spec, "until", max(ends, default=0.0) + TAIL)
        for index, step in enumerate(method):
            if step.at > until:
                raise self._fault(
                    ("spec", "method", index, "at"),
                    "is after the end of the experiment; allowed: up to spec.until",
                )
        return Experiment(
            name=str(metadata["name"]),
            seed=cast("int", spec.get("seed", 0)),
            nodes=nodes,
            settings=self._settings(cast("Map", cluster.get("settings", {}))),
            manifests=self._manifests(cast("list[str]", spec.get("manifests", []))),
            images=self._images(cast("list[Map]", spec.get("images", []))),
            steady_state=self._checks(cast("list[Map]", spec.get("steadyState", []))),
            method=tuple(sorted(method, key=lambda step: step.at)),
            invariants=self._invariants(cast("list[str]", spec.get("invariants", []))),
            settle_timeout=self._seconds(
                ("spec", "settleTimeout"), spec, "settleTimeout", SETTLE_TIMEOUT
            ),
            until=until,
            files=Files(texts=self.texts, folder=self.folder),
            document=document,
            text_name=self.name,
        )

    def _seconds(self, path: FieldPath, holder: Map, key: str, default: float) -> float:
        return self._read(path, parse_duration, holder[key]) if key in holder else default

    def _nodes(self, groups: list[Map]) -> tuple[SimulatedNode, ...]:
        nodes: list[SimulatedNode] = []
        names: dict[str, None] = {}
        for index, group in enumerate(groups):
            path: FieldPath = ("spec", "cluster", "nodes", index)
            given = cast("Map", group.get("capacity", {}))
            capacity = {
                name: self._read((*path, "capacity", name), Quantity.parse, value)
                for name, value in {**DEFAULT_CAPACITY, **given}.items()
            }
            taints = tuple(
                Taint(
                    key=str(taint["key"]),
                    value=str(taint.get("value", "")),
                    effect=str(taint["effect"]),
                )
                for taint in cast("list[Map]", group.get("taints", []))
            )
            for number in range(cast("int", group["count"])):
                name = f"{group['prefix']}-{number}"
                if name in names:
                    raise self._fault((*path, "prefix"), f"node {name} is in another group already")
                names[name] = None
                nodes.append(
                    SimulatedNode(
                        name=name,
                        zone=str(group.get("zone", "")),
                        region=str(group.get("region", "")),
                        capacity=capacity,
                        labels=cast("dict[str, str]", group.get("labels", {})),
                        taints=taints,
                    )
                )
        return tuple(nodes)

    def _settings(self, given: Map) -> Settings:
        path: FieldPath = ("spec", "cluster", "settings")
        settings = Settings()
        if "compat" in given:
            version = self._read((*path, "compat"), _version, given["compat"])
            settings = Settings.for_version(version)
        fields = {field_name_outside(f.name): f for f in attrs.fields(Settings)}
        changes: dict[str, object] = {}
        for name, value in given.items():
            if name == "compat":
                continue
            field = fields.get(name)
            if field is None:
                allowed = ", ".join(fields)
                raise self._fault((*path, name), f"unknown setting; allowed: {allowed}")
            default = getattr(settings, field.name)
            changes[field.name] = self._setting((*path, name), default, value)
        return attrs.evolve(settings, **changes)  # type: ignore[arg-type]  # checked by _setting

    def _setting(self, path: FieldPath, default: object, value: Json) -> object:
        """A value of the type that the setting's default has: durations may be written as such."""
        if isinstance(default, bool):
            if not isinstance(value, bool):
                raise self._fault(path, f"{value!r} is not allowed; allowed: true or false")
            return value
        if isinstance(default, str):
            return str(value)
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise self._fault(path, f"{value!r} is not allowed; allowed: a number or a duration")
        if isinstance(value, str):
            value = self._read(path, parse_duration, value)
        if value < 0:
            raise self._fault(path, f"{value!r} is not allowed; allowed: 0 or more")
        if isinstance(default, int):
            if value != int(value):
                raise self._fault(path, f"{value!r} is not allowed; allowed: a whole number")
            return int(value)
        return float(value)

    def _manifests(self, names: list[str]) -> tuple[str, ...]:
        for index, name in enumerate(names):
            self._check_manifest(("spec", "manifests", index), name)
        return tuple(names)

    def _check_manifest(self, path: FieldPath, name: str) -> None:
        """Read the manifest now, so that what is wrong in it is said before anything runs."""
        if name not in self.texts:
            try:
                self.read(name)
            except BadInput as error:
                raise self._fault(path, f"cannot read {error}") from None
        try:
            load_manifests_text(self.read(name), self._shown(name), self.scheme)
        except ManifestError as error:
            raise BadInput(str(error)) from None

    def _images(self, rules: list[Map]) -> tuple[ImageBehaviour, ...]:
        found = []
        for index, rule in enumerate(rules):
            path: FieldPath = ("spec", "images", index)
            options: dict[str, object] = {}
            for key, field in _RANGES.items():
                if key in rule:
                    options[field] = self._read((*path, key), DurationRange.parse, rule[key])
            if "memory" in rule:
                options["memory"] = self._read((*path, "memory"), Quantity.parse, rule["memory"])
            if "exitCode" in rule:
                options["exit_code"] = rule["exitCode"]
            found.append(ImageBehaviour(match=str(rule["match"]), **options))  # type: ignore[arg-type]  # by the schema
        return tuple(found)

    def _checks(self, given: list[Map]) -> tuple[Check, ...]:
        found: list[Check] = []
        for index, entry in enumerate(given):
            (kind, value), *_ = entry.items()
            path: FieldPath = ("spec", "steadyState", index, kind)
            if kind == "python":
                found.append(self._python_check(path, str(value)))
                continue
            options = cast("Map", value)
            match kind:
                case "deploymentAvailable":
                    found.append(
                        DeploymentAvailable(
                            name=str(options["name"]),
                            namespace=str(options.get("namespace", "default")),
                        )
                    )
                case "podsReady":
                    self._read((*path, "selector"), parse_label_selector, options["selector"])
                    namespace = options.get("namespace")
                    found.append(
                        PodsReady(
                            selector=str(options["selector"]),
                            count=cast("int", options["count"]),
                            namespace=None if namespace is None else str(namespace),
                        )
                    )
                case _:
                    found.append(NodeReady(name=str(options["name"])))
        return tuple(found)

    def _python_check(self, path: FieldPath, target: str) -> PythonCheck:
        """A check of the user's own; its file, when it lies beside the experiment, becomes part of it."""
        module, _, function = target.partition(":")
        name = f"{module.replace('.', '/')}.py"
        if name in self.texts or (self.folder and (Path(self.folder) / name).exists()):
            source = self.read(name)
            if f"def {function}" not in source:
                raise self._fault(path, f"{self._shown(name)} has no function {function}")
        return PythonCheck(target=target)

    def _invariants(self, names: list[str]) -> tuple[str, ...]:
        for index, name in enumerate(names):
            if name not in INVARIANTS:
                allowed = ", ".join(INVARIANTS)
                raise self._fault(
                    ("spec", "invariants", index), f"unknown invariant {name!r}; allowed: {allowed}"
                )
        return tuple(names)

    def _method(self, steps: list[Map], nodes: tuple[SimulatedNode, ...]) -> list[Step]:
        found = []
        known = {node.name: None for node in nodes}
        for index, step in enumerate(steps):
            path: FieldPath = ("spec", "method", index)
            at = self._read((*path, "at"), parse_duration, step["at"])
            kind = next(key for key in step if key != "at")
            action = self._action((*path, kind), kind, step[kind])
            target = getattr(action, "node", None)
            name = target.name if isinstance(target, NodeTarget) else target
            if isinstance(name, str) and name and name not in known:
                allowed = ", ".join(known)
                key = "node" if isinstance(target, str) else "name"
                raise self._fault(
                    (*path, kind, key), f"no node is called {name!r}; allowed: {allowed}"
                )
            line = self.document.line(field_path(path))
            found.append(Step(at=at, action=action, line=line))
        return found

    def _action(self, path: FieldPath, kind: str, value: Json) -> Action:  # noqa: PLR0911 - one return a case
        if isinstance(value, str):
            self._check_manifest(path, value)
            return ApplyManifest(file=value)
        options = cast("Map", value)
        node = NodeTarget(
            name=str(options.get("name", "")), busiest=bool(options.get("busiest", False))
        )
        namespace = str(options.get("namespace", "default"))
        match kind:
            case "crashNode":
                return CrashNode(node=node)
            case "restartNode":
                return RestartNode(
                    node=node, containers="kept" if options.get("containers") == "kept" else "lost"
                )
            case "partitionNode":
                return PartitionNode(
                    node=node, seconds=self._seconds((*path, "for"), options, "for", 0)
                )
            case "pauseKubelet":
                return PauseKubelet(
                    node=node, seconds=self._seconds((*path, "for"), options, "for", 0)
                )
            case "scale":
                return ScaleDeployment(
                    name=str(options["deployment"]),
                    replicas=cast("int", options["replicas"]),
                    namespace=namespace,
                )
            case "delete":
                return self._delete(path, options, namespace)
            case "restartReconciler":
                return RestartReconciler(name=str(options["name"]))
            case _:
                return CordonNode(node=str(options["node"]), unschedulable=kind == "cordon")

    def _delete(self, path: FieldPath, options: Map, namespace: str) -> DeleteObjects:
        self._read((*path, "kind"), self.scheme.resource_of, options["kind"])
        selector = str(options.get("selector", ""))
        self._read((*path, "selector"), parse_label_selector, selector)
        if ("name" in options) == ("selector" in options):
            raise self._fault(path, "exactly one of these is needed: name, selector")
        return DeleteObjects(
            kind=str(options["kind"]),
            namespace=namespace,
            name=str(options.get("name", "")),
            selector=selector,
        )


_RANGES: Final = {"pull": "pull", "start": "start", "readyAfter": "ready_after", "runs": "runs"}


def _version(text: str) -> str:
    try:
        parse_version(text)
    except ValueError:
        raise ValueError(f"{text!r} is no Kubernetes version; allowed: such as 1.20") from None
    return text
