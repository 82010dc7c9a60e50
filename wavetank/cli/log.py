"""`wavetank log`: look into a log."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import click

from engine import Json
from store import EMPTY_REVISION, Event, StoreError, is_etcd
from wavetank.errors import BadInput
from wavetank.logs import Log, open_log

PATH = click.Path(path_type=str)
"""Of a log; or the address of an etcd, which a Path would spoil."""
KIND = click.option("--kind", default="", help="Only this kind: Pod, pods, deploy ...")


@click.group()
def log() -> None:
    """Show, fold, compare and verify a log."""


@log.command()
@click.argument("path", type=PATH)
@click.option(
    "--from",
    "first",
    type=click.IntRange(min=0),
    default=0,
    help="First revision; the oldest kept by default.",
)
@click.option("--to", "last", type=click.IntRange(min=0), help="Last revision.")
@KIND
@click.option(
    "--name", default="", metavar="NS/NAME", help="Only this object; NAME in any namespace."
)
@click.option("--actor", default="", help="Only what this process wrote, e.g. kubelet/node-1.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table")
def show(  # noqa: PLR0913, PLR0917 - one argument per option
    path: str, first: int, last: int | None, kind: str, name: str, actor: str, output: str
) -> None:
    """The events of the log at PATH, in order."""
    opened = open_log(path)
    wanted = _filter(opened, kind, name, actor)
    events = filter(wanted, opened.events(first, last))
    if not first:
        _say_what_was_dropped(opened)
    if output == "json":
        for event in events:
            sys.stdout.write(json.dumps(opened.event_json(event)) + "\n")
    else:
        _print_events(events)


def _say_what_was_dropped(opened: Log) -> None:
    if (oldest := opened.oldest) > EMPTY_REVISION:
        kept = f"begins at revision {oldest}; what was before was not kept (--keep {opened.keep})"
        print(f"note: {opened.path} {kept}", file=sys.stderr)


def _filter(opened: Log, kind: str, name: str, actor: str) -> Callable[[Event], bool]:
    prefix = opened.resource(kind).storage_prefix if kind else ""
    suffix = f"/{name}" if name else ""

    def wanted(event: Event) -> bool:
        return (
            (not actor or event.origin.actor == actor)
            and event.key.startswith(prefix)
            and event.key.endswith(suffix)
        )

    return wanted


def _print_events(events: Iterator[Event]) -> None:
    write = sys.stdout.write
    write(f"{'REVISION':>8} {'TIME':>14}  {'TYPE':<6} {'KEY':<58} {'ACTOR':<30} CAUSES\n")
    for event in events:
        causes = " ".join(f"r{c}" if isinstance(c, int) else c for c in event.origin.causes)
        key = event.key.removeprefix("/registry/")
        write(
            f"{event.revision:>8} {event.time_ns / 1e9:>13.6f}s  {event.type.name:<6} "
            f"{key:<58} {event.origin.actor:<30} {causes}\n"
        )


@log.command()
@click.argument("path", type=PATH)
@click.option("--at", "revision", type=click.IntRange(min=0), help="Revision; the last by default.")
@KIND
@click.option("-o", "--output", type=click.Choice(["table", "yaml", "json"]), default="table")
def state(path: str, revision: int | None, kind: str, output: str) -> None:
    """The cluster as it was at a revision."""
    opened = open_log(path)
    objects = _objects(opened, revision, kind)
    if output == "json":
        items: list[Json] = [cast("Json", obj) for _, obj in objects]
        json.dump({"apiVersion": "v1", "kind": "List", "items": items}, sys.stdout, indent=2)
        sys.stdout.write("\n")
    elif output == "yaml":
        import yaml  # noqa: PLC0415 - only here

        yaml.safe_dump_all(
            [obj for _, obj in objects], sys.stdout, sort_keys=False, allow_unicode=True
        )
    else:
        _print_objects(objects)


def _objects(opened: Log, revision: int | None, kind: str) -> list[tuple[str, dict[str, Json]]]:
    folded = opened.state(revision, resource=opened.resource(kind) if kind else None)
    return [(key, opened.scheme.to_dict(obj)) for key, obj in folded.objects()]


def _print_objects(objects: list[tuple[str, dict[str, Json]]]) -> None:
    sys.stdout.write(f"{'KIND':<22} {'NAMESPACE':<18} {'NAME':<46} {'REVISION':>8}  STATUS\n")
    for _, obj in objects:
        metadata = cast("dict[str, Json]", obj["metadata"])
        sys.stdout.write(
            f"{obj['kind']!s:<22} {metadata.get('namespace', '')!s:<18} {metadata['name']!s:<46} "
            f"{metadata['resourceVersion']!s:>8}  {_status(obj)}\n"
        )


def _status(obj: dict[str, Json]) -> str:
    """What the status of any kind says in a few words: its phase, else its replicas, else Ready."""
    status = obj.get("status")
    if not isinstance(status, dict):
        return ""
    if "replicas" in status:
        return f"{status.get('availableReplicas', 0)}/{status['replicas']} available"
    conditions = status.get("conditions")
    ready = ""
    for condition in conditions if isinstance(conditions, list) else []:
        if isinstance(condition, dict) and condition.get("type") == "Ready":
            ready = f"Ready={condition.get('status')}"
    return " ".join(part for part in (str(status.get("phase", "")), ready) if part)


@log.command()
@click.argument("path", type=PATH)
@click.argument("r1", type=click.IntRange(min=0))
@click.argument("r2", type=click.IntRange(min=0))
def diff(path: str, r1: int, r2: int) -> None:
    """What changed in the cluster from revision R1 to revision R2."""
    opened = open_log(path)
    before, after = dict(_objects(opened, r1, "")), dict(_objects(opened, r2, ""))
    for key in sorted({**before, **after}):
        if before.get(key) != after.get(key):
            name = key.removeprefix("/registry/")
            sys.stdout.writelines(
                f"{line}\n"
                for line in difflib.unified_diff(
                    _lines(before.get(key)),
                    _lines(after.get(key)),
                    f"{name} (r{r1})",
                    f"{name} (r{r2})",
                    lineterm="",
                )
            )


def _lines(obj: dict[str, Json] | None) -> list[str]:
    if obj is None:
        return []
    import yaml  # noqa: PLC0415 - only here

    text: str = yaml.safe_dump(obj, sort_keys=True, allow_unicode=True)
    return text.splitlines()


@log.command()
@click.argument("path", type=PATH)
def verify(path: str) -> None:
    """Check every byte of the log: framing, checksums, revisions and the digest."""
    if not is_etcd(path) and not Path(path).exists():
        raise BadInput(f"{path}: no such log")
    try:
        opened = open_log(path)
        verified = opened.reader.verify()
    except (StoreError, BadInput) as error:
        print(error, file=sys.stderr)
        raise click.exceptions.Exit(1) from None
    if verified.torn is not None:
        torn = verified.torn
        print(
            f"{path}: {torn.segment} at offset {torn.offset}: the log is cut off here, within a record; "
            f"{verified.events} events up to revision {verified.head} are whole",
            file=sys.stderr,
        )
        raise click.exceptions.Exit(1)
    print(f"ok events={verified.events} head={verified.head} digest={verified.digest}")
    if verified.oldest > EMPTY_REVISION:
        print(
            f"checked from revision {verified.oldest} on; what was before was not kept (--keep {opened.keep}), "
            "and the digest covers it as far as its snapshot is believed"
        )


def describe(opened: Log, event: Event | None) -> str:
    """An event in full, for people: its facts in one line, and its object."""
    if event is None:
        return "  (no event)"
    import yaml  # noqa: PLC0415 - only here

    shown = opened.event_json(event)
    body: str = yaml.safe_dump(shown, sort_keys=False, allow_unicode=True)
    return "\n".join(f"  {line}" for line in body.splitlines())
