"""What becomes of a remark before it is sent as an Event: combined, counted or cut (client-go `EventCorrelator`).

Three stages in this order, each remembering the newest CACHE_SIZE things it met:

1. *Combine*. Remarks that differ in their message alone are similar. From the tenth distinct message on, with no pause longer than
   ten minutes between two of them, they all become one Event, "(combined from similar events): ...".
2. *Count*. What was said before, to the letter, raises the count of that Event; a combined one always does.
3. *Cut*. An object may be spoken of 25 times at once, per type, and then once in five minutes; the rest is dropped. Dropped
   remarks have been counted all the same: the next one that passes shows them.

Example: a ReplicaSet says "Created pod: web-1" to "web-12" in a second: nine Events, then one combined Event of which three counts are
sent. Nothing here waits or reads a clock: times are integer nanoseconds given by the caller.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

import attrs

from engine.objects.meta import ObjectReference

AGGREGATE_AFTER: Final = 10
"""Distinct messages of one reason before they are combined (client-go defaultAggregateMaxEvents)."""
AGGREGATE_INTERVAL: Final = 600.0
"""Seconds for which similar events count together (defaultAggregateIntervalInSeconds)."""
SPAM_BURST: Final = 25
SPAM_REFILL: Final = 300.0
"""An object may say 25 things at once, then one per 300 seconds (defaultSpamBurst, defaultSpamQPS)."""
CACHE_SIZE: Final = 4096
"""Entries remembered per stage (maxLruCacheEntries)."""

COMBINED: Final = "(combined from similar events): "

_NS: Final = 1_000_000_000

K = TypeVar("K")
V = TypeVar("V")


@attrs.frozen
class Remark:
    """What a process has to say about an object, before correlation."""

    involved: ObjectReference
    type: str
    reason: str
    message: str


About = tuple[str, ...]
"""Whom a remark is about, and its type."""

RemarkKey = tuple[About, str, str, str] | tuple[About, str]
"""What makes two remarks the same Event, within one source: about whom, the reason, and unless they were combined what part of it and the message."""


@attrs.define(eq=False)
class Told:
    """What is remembered of a remark that may be made again."""

    count: int
    first_ns: int
    involved: ObjectReference | None = None
    """What its Event is about, as it was when the server took it; None before that."""
    first_us: int = 0
    """And when it was first told, in Unix microseconds."""


@attrs.frozen
class Verdict:
    """What to send: a new Event when `count` is 1, else one more count of the one that `key` stands for."""

    key: RemarkKey
    remark: Remark
    told: Told
    count: int
    last_ns: int

    @property
    def first_ns(self) -> int:
        """When it was first told."""
        return self.told.first_ns


class Lru(Generic[K, V]):
    """The entries used last, CACHE_SIZE at most."""

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: dict[K, V] = {}
        """The one used last is last. (An OrderedDict takes twice the memory, and each kubelet has three.)"""

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> V | None:
        value = self._entries.pop(key, None)
        if value is not None:
            self._entries[key] = value
        return value

    def put(self, key: K, value: V) -> None:
        entries = self._entries
        entries.pop(key, None)
        entries[key] = value
        if len(entries) > CACHE_SIZE:
            del entries[next(iter(entries))]


@attrs.define
class _Similar:
    messages: tuple[str, ...]
    """Distinct, oldest first; AGGREGATE_AFTER at most."""
    last_ns: int


@attrs.define
class _Voice:
    """How much an object may still say."""

    about: About
    """The very tuple that all keys about it share."""
    tokens: float
    since_ns: int


@attrs.define(eq=False)
class EventCorrelator:
    """Filters the remarks of one source (component and host). See the module's text."""

    _similar: Lru[RemarkKey, _Similar] = attrs.field(factory=Lru, init=False)
    _known: Lru[RemarkKey, Told] = attrs.field(factory=Lru, init=False)
    _voices: Lru[About, _Voice] = attrs.field(factory=Lru, init=False)

    def correlate(self, remark: Remark, now: int) -> Verdict | None:
        """What to send for `remark` at `now` (ns); None when the object has said too much."""
        involved = remark.involved
        # An object made again under the same name is another one: its uid is part of every key.
        about: About = (
            involved.kind,
            involved.namespace,
            involved.name,
            involved.uid,
            involved.api_version,
            remark.type,
        )
        voice = self._voices.get(about)
        if voice is None:
            voice = _Voice(about, float(SPAM_BURST), now)
            self._voices.put(about, voice)
        key: RemarkKey = (voice.about, remark.reason)
        if self._combine(key, remark.message, now):
            remark = attrs.evolve(remark, message=COMBINED + remark.message)
        else:
            key = (*key, involved.field_path, remark.message)
        told = self._known.get(key)
        if told is None:
            told = Told(0, now)
            self._known.put(key, told)
        told.count += 1
        if not _allowed(voice, now):
            return None
        return Verdict(key, remark, told, told.count, now)

    def _combine(self, group: RemarkKey, message: str, now: int) -> bool:
        similar = self._similar.get(group)
        if similar is None or now - similar.last_ns > AGGREGATE_INTERVAL * _NS:
            similar = _Similar((), now)
            self._similar.put(group, similar)
        if message not in similar.messages:
            similar.messages = (*similar.messages, message)
        similar.last_ns = now
        if len(similar.messages) < AGGREGATE_AFTER:
            return False
        # Any may go (client-go: `PopAny`); here the one told first, so that runs are equal.
        similar.messages = similar.messages[1:]
        return True


def _allowed(voice: _Voice, now: int) -> bool:
    """Whether the object may speak now; if so, it has."""
    refilled = (now - voice.since_ns) / (SPAM_REFILL * _NS)
    voice.tokens, voice.since_ns = min(float(SPAM_BURST), voice.tokens + refilled), now
    if voice.tokens < 1.0:
        return False
    voice.tokens -= 1.0
    return True
