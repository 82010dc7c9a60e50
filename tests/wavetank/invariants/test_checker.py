"""The checker: who is shown what, when, and how much is kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import attrs

from engine import KubeObject, Lease, ObjectMeta, Pod
from store import Event as LogEvent
from tests.wavetank.handmade import HandMade, node, pod
from wavetank.invariants import (
    INVARIANTS,
    Finishing,
    InvariantChecker,
    Surrounded,
    Timed,
    as_invariant,
)
from wavetank.view import View


@attrs.define(eq=False)
class Curious:
    """Notes what it is shown; asks to be woken at `due_ns`."""

    name: ClassVar[str] = "curious"
    kinds: ClassVar = (Pod,)
    due_ns: int = 5_000_000_000
    seen: list[str] = attrs.field(factory=list)

    def observe(self, event: LogEvent, old: KubeObject | None, view: View) -> str | None:
        del old, view
        self.seen.append(event.key)
        return "shown"

    def overdue(self, view: View, now_ns: int) -> Iterator[str]:
        del view
        self.due_ns = now_ns + 10_000_000_000
        yield f"woken at {now_ns / 1e9:g}"

    def finish(self, view: View, now_ns: int) -> Iterator[str]:
        del view
        yield f"over at {now_ns / 1e9:g}"


def test_an_invariant_is_shown_its_kinds_and_woken_in_time() -> None:
    """Removals too; the wake-up comes with the first event of whatever kind, and with the end."""
    curious = Curious()
    checker = InvariantChecker([curious])
    log = HandMade([checker])
    log.put(pod("a"))
    log.put(node("n-0"))
    log.remove(pod("a"))
    log.seconds = 6
    log.put(Lease(metadata=ObjectMeta(name="l", namespace="x")))
    checker.finish(log.view, 20_000_000_000)

    assert ["/registry/pods/default/a"] * 2 == curious.seen
    assert ["shown", "shown", "woken at 6", "woken at 20", "over at 20"] == [
        violation.message for violation in checker.violations
    ]
    assert [2, 4, 5, 5, 5] == [violation.revision for violation in checker.violations]


def test_enough_is_enough() -> None:
    """At the limit an invariant is shown nothing more."""
    curious = Curious()
    checker = InvariantChecker([curious], limit=3)
    log = HandMade([checker])
    for _ in range(9):
        log.put(pod("a"))
    checker.finish(log.view, 0)

    assert 3 == len(checker.violations) == len(curious.seen)


def test_what_the_built_in_ones_may_ask_for() -> None:
    """Each part of the protocol has users, and all names are their own."""
    made = [as_invariant(name) for name in INVARIANTS]

    assert list(INVARIANTS) == [each.name for each in made]
    assert ["ownerExists", "nothingOnMissingNode"] == [
        each.name for each in made if isinstance(each, Timed)
    ]
    assert ["watchEqualsLog"] == [each.name for each in made if isinstance(each, Finishing)]
    assert {
        "onePodPerIdentity",
        "ownerExists",
        "nothingOnMissingNode",
        "watchEqualsLog",
        "leaseNotEarly",
    } == {each.name for each in made if isinstance(each, Surrounded)}
