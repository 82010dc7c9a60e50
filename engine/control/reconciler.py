"""What a reconciler is: the class to subclass, what it declares, and what the runtime gives it.

A reconciler says which kinds wake it (`sources`) and how to bring one object nearer to its desired state
(`reconcile`). It is level-triggered: it reads what its informers show now, never the event that woke it, and must be
safe to repeat, to cut off at any await, and to run twice. Ours and a user's are written in the same way.

    class Labeller(Reconciler):
        name = "labeller"

        def sources(self):
            return [For(Pod)]

        async def reconcile(self, key):
            pod = self.informer(Pod).get(key)
            if pod is None or "seen" in pod.metadata.labels:
                return Done()
            await self.client.patch(Pod, key.name, key.namespace, {"metadata": {"labels": {"seen": "yes"}}})
            return Done()
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import ClassVar, Generic, Protocol, TypeAlias, TypeVar

import attrs

from engine.api.cause import current_origin, set_causes
from engine.control.cache import Change
from engine.control.client import Client
from engine.control.events import EventRecorder
from engine.control.informer import Informer
from engine.control.workqueue import merge_causes
from engine.objects.key import Key
from engine.objects.meta import KubeObject
from engine.objects.scheme import Resource
from engine.settings import Settings
from engine.sim.clock import Clock
from engine.sim.draws import Draws

T = TypeVar("T", bound=KubeObject)


@attrs.frozen
class Done:
    """Nothing more to do until something changes."""


@attrs.frozen
class RequeueAfter:
    """Look again after that many seconds: finite and not negative, else ValueError."""

    seconds: float

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.seconds < math.inf:
            raise ValueError(
                f"RequeueAfter({self.seconds}): allowed are seconds from 0; Done() waits for a change"
            )


@attrs.frozen
class Requeue:
    """Look again, later each time."""


Result: TypeAlias = Done | RequeueAfter | Requeue | None
"""The outcome of one reconcile; None means Done."""


class Source:
    """What may wake a reconciler: For, Owns or Watches."""

    __slots__ = ()


@attrs.frozen
class For(Source, Generic[T]):
    """The kind whose objects are reconciled: each change enqueues the object's own key."""

    kind: type[T] | Resource
    on_change: Callable[[Change[T]], None] | None = None
    """Called before keys are enqueued, for instance to observe expectations."""


@attrs.frozen
class Owns(Source, Generic[T]):
    """A kind whose objects are made by the reconciler: a change enqueues the controlling owner, before and after."""

    kind: type[T] | Resource
    on_change: Callable[[Change[T]], None] | None = None


@attrs.frozen
class Watches(Source, Generic[T]):
    """Any other kind; `keys` maps an object, before and after the change, to the keys to enqueue.
    Without `keys` the kind is only cached.
    """

    kind: type[T] | Resource
    keys: Callable[[T], Iterable[Key]] | None = None
    on_change: Callable[[Change[T]], None] | None = None
    label_selector: str = ""
    field_selector: str = ""


class Queue(Protocol):
    """The reconciler's work queue, as it may use it itself. Causes travel by themselves."""

    def add(self, key: Key) -> None:
        """Reconcile `key` soon."""
        ...

    def add_after(self, key: Key, seconds: float) -> None:
        """Reconcile `key` after a while; of several pending delays the earliest counts."""
        ...

    def add_rate_limited(self, key: Key) -> None:
        """Reconcile `key` after its back-off, which grows until `forget`."""
        ...

    def forget(self, key: Key) -> None:
        """Start the back-off of `key` over."""
        ...


class InformerSource(Protocol):
    """Gives the informer of a kind, one per process."""

    def __call__(self, kind: type[T] | Resource) -> Informer[T]: ...


@attrs.frozen(kw_only=True)
class Equipment:
    """What the runtime gives a reconciler when it starts."""

    client: Client
    clock: Clock
    draws: Draws
    settings: Settings
    recorder: EventRecorder
    queue: Queue
    informer: InformerSource
    gate: Callable[[], Awaitable[None]]


class Reconciler:
    """Base class of all reconcilers. See the module's text.

    The instance passed to a cluster is a template: each start and restart runs a shallow copy of it, whose `setup`
    builds its memory. So a crash loses everything but what the constructor was given.
    """

    name: ClassVar[str]
    """Its name among the reconcilers; it writes as actor `controller/<name>`."""
    workers: ClassVar[int] = 1
    """How many keys are reconciled at a time."""
    component: ClassVar[str] = ""
    """`source.component` of its Events; empty: `<name>-controller`."""

    client: Client
    clock: Clock
    draws: Draws
    settings: Settings
    recorder: EventRecorder
    queue: Queue
    _informer: InformerSource
    _gate: Callable[[], Awaitable[None]]

    def equip(self, equipment: Equipment) -> None:
        """Called by the runtime on a fresh copy, before `setup`."""
        self.client = equipment.client
        self.clock = equipment.clock
        self.draws = equipment.draws
        self.settings = equipment.settings
        self.recorder = equipment.recorder
        self.queue = equipment.queue
        self._informer = equipment.informer
        self._gate = equipment.gate

    @classmethod
    def actor(cls) -> str:
        """The name under which it writes."""
        return f"controller/{cls.name}"

    @classmethod
    def event_component(cls, settings: Settings) -> str:
        """`source.component` of its Events; some names differ between Kubernetes versions."""
        del settings
        return cls.component or f"{cls.name}-controller"

    modern_events: ClassVar[bool] = False
    """Whether its Events are in events.k8s.io style, without a source."""

    def informer(self, kind: type[T] | Resource) -> Informer[T]:
        """This process's picture of a kind that `sources` or `setup` named. Raises LookupError for another."""
        return self._informer(kind)

    async def sleep(self, seconds: float) -> None:
        """Wait for cluster time to pass, and longer while the process is paused; what `loops` wait with.

        The timer is then a cause of what follows: the only one in a loop, one more in a reconcile.
        """
        await self.clock.sleep(seconds)
        await self._gate()
        origin = current_origin()
        timer = (f"timer:{origin.actor}",)
        set_causes(*(merge_causes(origin.causes, timer) if origin.reconcile else timer))

    def sources(self) -> Sequence[Source]:
        """What wakes the reconciler, called once after `equip`."""
        return ()

    async def setup(self) -> None:
        """Build the memory and add indexes; the informers exist and have not started."""

    async def reconcile(self, key: Key) -> Result:
        """Bring the object `key` nearer to its desired state. An exception means: again, later each time."""
        del key
        return None

    def loops(self) -> Sequence[Callable[[], Awaitable[None]]]:
        """Tasks that run beside the workers once the informers have synced, each until cancelled."""
        return ()
