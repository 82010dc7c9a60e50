"""What a reconciler was told and what it wrote in the undisturbed run, heard at its seam."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from engine import (
    Answer,
    ApiError,
    Clock,
    Fate,
    Key,
    KubeObject,
    ObjectList,
    Request,
    Seam,
    WatchEvent,
    WatchEventType,
    WatchRequest,
    current_origin,
    key_of,
)
from store import Origin
from wavetank.view import kind_name


@attrs.frozen(kw_only=True)
class Write:
    """One write that left the process. `number` counts all of them from 1."""

    number: int
    verb: str
    kind: str
    key: Key
    subresource: str
    origin: Origin
    seconds: float
    told: int
    """How many notifications it had had by then."""
    head: int
    """The newest revision as it left."""

    def __str__(self) -> str:
        part = f"/{self.subresource}" if self.subresource else ""
        return f"{self.verb} {self.kind}{part} {self.key}"


@attrs.frozen(kw_only=True, eq=False)
class Notification:
    """One change that a watch told it, with the state it knew before."""

    revision: int
    kind: str
    key: Key
    old: KubeObject | None
    new: KubeObject | None
    seconds: float

    def __str__(self) -> str:
        change = "deleted" if self.new is None else "created" if self.old is None else "changed"
        return f"{self.kind} {self.key} {change} (r{self.revision})"


@attrs.define(eq=False)
class Recording:
    """Listens from when it is connected."""

    clock: Clock
    head: Callable[[], int]
    """The newest revision."""
    writes: list[Write] = attrs.field(factory=list, init=False)
    void: dict[int, None] = attrs.field(factory=dict, init=False)
    """The numbers of the writes that were refused, or found all as they wanted it."""
    notifications: list[Notification] = attrs.field(factory=list, init=False)
    """In the order of their delivery; of several watches of one kind only the first to tell."""
    _unanswered: list[tuple[Request, int]] = attrs.field(factory=list, init=False)
    """The writes that are under way, with their numbers."""
    _known: dict[tuple[str, Key], KubeObject] = attrs.field(factory=dict, init=False)
    _seen: dict[tuple[str, int, Key], None] = attrs.field(factory=dict, init=False)

    def connect(self, seam: Seam) -> None:
        """Begin to listen."""
        seam.on_write(self._sent_fate, "perturb")
        seam.on_exchange(self._answered, "perturb")
        seam.on_batch(self._told, "perturb")

    def _sent_fate(self, request: Request) -> Fate:
        number = len(self.writes) + 1
        self._unanswered.append((request, number))
        name = request.name
        if not name and request.object is not None:
            name = f"{request.object.metadata.generate_name}*"
        self.writes.append(
            Write(
                number=number,
                verb=request.verb.value,
                kind=kind_name(request.resource),
                key=Key(request.namespace, name),
                subresource=request.subresource,
                origin=current_origin(),
                seconds=self.clock.now(),
                told=len(self.notifications),
                head=self.head(),
            )
        )
        return Fate.ARRIVES

    def _answered(self, request: Request, answer: Answer | ApiError) -> None:
        found = [each for each in self._unanswered if each[0] is request]
        if found:
            self._unanswered = [each for each in self._unanswered if each[0] is not request]
            number = found[0][1]
            if isinstance(answer, ApiError) or self._unchanged(number, answer):
                self.void[number] = None
        elif isinstance(answer, ObjectList):
            for obj in answer.items:
                self._known[kind_name(request.resource), key_of(obj)] = obj

    def _unchanged(self, number: int, answer: Answer) -> bool:
        """Whether the object is of a revision from before the write, which so changed nothing."""
        write = self.writes[number - 1]
        if write.verb == "delete" or answer is None or isinstance(answer, ObjectList):
            return False
        return int(answer.metadata.resource_version or write.head + 1) <= write.head

    def _told(self, watch: WatchRequest, events: tuple[WatchEvent, ...]) -> None:
        kind = kind_name(watch.resource)
        for event in events:
            if event.object is not None:
                self._note(kind, event, event.object)

    def _note(self, kind: str, event: WatchEvent, obj: KubeObject) -> None:
        key = key_of(obj)
        if (kind, event.revision, key) in self._seen:
            return
        self._seen[kind, event.revision, key] = None
        new = None if event.type is WatchEventType.DELETED else obj
        old = self._known.pop((kind, key), None)
        if new is not None:
            self._known[kind, key] = new
        self.notifications.append(
            Notification(
                revision=event.revision,
                kind=kind,
                key=key,
                old=old,
                new=new,
                seconds=self.clock.now(),
            )
        )
