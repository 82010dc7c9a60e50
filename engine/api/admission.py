"""Admission: what the cluster's state has to say to a write, and the defaults that depend on it.

The plugins of kube-apiserver that are on by default and matter here, in its order (reference/api.md, 10.4): NamespaceLifecycle,
ServiceAccount, TaintNodesByCondition, Priority, DefaultTolerationSeconds. Each is a synchronous function of the object and a `View` of the cached
state. The cache may lag; a refusal is therefore tried once more on a fresh one (`ApiServer`), as the real plugins look
up live what their informers lack.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol, TypeVar, cast

import attrs

from engine.api.errors import FieldError, NotFound
from engine.api.refusals import forbidden
from engine.objects.core import Namespace, Node, PriorityClass, ServiceAccount, Taint
from engine.objects.meta import KubeObject
from engine.objects.pod import Pod, PodSpec, Toleration
from engine.objects.replacing import replaced
from engine.objects.scheme import Resource
from engine.settings import Settings

T = TypeVar("T", bound=KubeObject)

IMMORTAL_NAMESPACES: Final = ("default", "kube-system", "kube-public")
"""May not be deleted (NamespaceLifecycle)."""
NOT_READY_TAINT: Final = "node.kubernetes.io/not-ready"
UNREACHABLE_TAINT: Final = "node.kubernetes.io/unreachable"
DEFAULT_ACCOUNT: Final = "default"


class View(Protocol):
    """The cluster as the server's cache shows it."""

    def namespace(self, name: str) -> Namespace | None: ...
    def service_account(self, namespace: str, name: str) -> ServiceAccount | None: ...
    def priority_class(self, name: str) -> PriorityClass | None: ...
    def priority_classes(self) -> Iterable[PriorityClass]: ...


@attrs.define(eq=False)
class Admission:
    """The admission chain of one API server.

    With `default_account_implied`, the service account `default` counts as existing in every namespace. It is so
    unless the cluster runs the controller that makes it: pods would otherwise be refused for ever. A service account that a pod names
    itself must exist in any case.
    """

    settings: Settings
    default_account_implied: bool = True
    _tolerations: tuple[Toleration, ...] = attrs.field(init=False)
    _specs: dict[int, tuple[PodSpec, tuple[int, str | None], PodSpec]] = attrs.field(
        factory=dict, init=False, repr=False
    )

    def __attrs_post_init__(self) -> None:
        seconds = (
            (NOT_READY_TAINT, self.settings.default_not_ready_toleration),
            (UNREACHABLE_TAINT, self.settings.default_unreachable_toleration),
        )
        self._tolerations = tuple(
            Toleration(key=key, operator="Exists", effect="NoExecute", toleration_seconds=given)
            for key, given in seconds
        )

    def create(self, obj: T, resource: Resource, view: View) -> T:
        """Admit a new object; returns it completed. Raises Forbidden, NotFound (no such namespace)."""
        if resource.namespaced:
            _check_namespace(obj, resource, view)
        if isinstance(obj, Pod):
            return cast("T", self._create_pod(obj, resource, view))
        if isinstance(obj, Node):
            return cast("T", _taint_new_node(obj))
        if isinstance(obj, PriorityClass):
            _check_global_default(obj, resource, view)
        return obj

    def update(self, obj: KubeObject, resource: Resource, view: View) -> None:
        """Admit a change. Raises Forbidden."""
        if isinstance(obj, PriorityClass):
            _check_global_default(obj, resource, view)

    def delete(self, name: str, resource: Resource) -> None:
        """Admit a deletion. Raises Forbidden."""
        if resource.kind == "Namespace" and not resource.group and name in IMMORTAL_NAMESPACES:
            raise forbidden(resource, name, "this namespace may not be deleted")

    def _create_pod(self, pod: Pod, resource: Resource, view: View) -> Pod:
        account = pod.spec.service_account_name or DEFAULT_ACCOUNT
        self._check_account(pod, account, resource, view)
        priority, policy = _priority_of(pod, resource, view)
        given = pod.spec
        known = self._specs.get(id(given))
        if known is not None and known[1] == (priority, policy):
            return replaced(pod, spec=known[2])
        spec = given
        if not given.service_account_name:
            spec = attrs.evolve(spec, service_account_name=account, service_account=account)
        spec = attrs.evolve(
            spec,
            priority=priority,
            preemption_policy=spec.preemption_policy or policy,
            tolerations=self._complete(spec.tolerations),
        )
        if len(self._specs) >= _SPECS_KEPT:
            del self._specs[next(iter(self._specs))]
        self._specs[id(given)] = (given, (priority, policy), spec)
        return replaced(pod, spec=spec)

    def _check_account(self, pod: Pod, account: str, resource: Resource, view: View) -> None:
        if account == DEFAULT_ACCOUNT and self.default_account_implied:
            return
        namespace = pod.metadata.namespace
        if view.service_account(namespace, account) is None:
            raise forbidden(
                resource,
                _shown(pod),
                f"error looking up service account {namespace}/{account}: "
                f'serviceaccount "{account}" not found',
            )

    def _complete(self, given: tuple[Toleration, ...]) -> tuple[Toleration, ...]:
        """Add the default tolerations for taints that nothing given tolerates (DefaultTolerationSeconds)."""
        missing = tuple(
            default for default in self._tolerations if not _tolerates(given, default.key)
        )
        return given + missing if missing else given


def _shown(obj: KubeObject) -> str:
    """The name as messages show it; a name still to be generated shows its base."""
    return obj.metadata.name or obj.metadata.generate_name


_SPECS_KEPT: Final = 4096
"""Pod specs whose admitted form is remembered: those of the templates in use."""


def _tolerates(tolerations: tuple[Toleration, ...], taint: str) -> bool:
    return any(
        toleration.key in (taint, "") and toleration.effect in ("NoExecute", "")
        for toleration in tolerations
    )


def _check_namespace(obj: KubeObject, resource: Resource, view: View) -> None:
    name = obj.metadata.namespace
    namespace = view.namespace(name)
    if namespace is None:
        raise NotFound(f'namespaces "{name}" not found')
    if namespace.metadata.deletion_timestamp is not None:
        cause = FieldError(
            path="metadata.namespace",
            reason="NamespaceTerminating",
            detail=f"namespace {name} is being terminated",
        )
        raise forbidden(
            resource,
            _shown(obj),
            f"unable to create new content in namespace {name} because it is being terminated",
            causes=(cause,),
        )


def _taint_new_node(node: Node) -> Node:
    """A new node is not ready until its conditions say so (TaintNodesByCondition)."""
    taint = Taint(key=NOT_READY_TAINT, effect="NoSchedule")
    if any(one.key == taint.key and one.effect == taint.effect for one in node.spec.taints):
        return node
    return attrs.evolve(node, spec=attrs.evolve(node.spec, taints=(*node.spec.taints, taint)))


def _priority_of(pod: Pod, resource: Resource, view: View) -> tuple[int, str | None]:
    """Priority and preemption policy of a new pod. Raises Forbidden."""
    name = pod.spec.priority_class_name
    if name:
        found = view.priority_class(name)
        if found is None:
            raise forbidden(resource, _shown(pod), f"no PriorityClass with name {name} was found")
    else:
        found = _global_default(view)
    priority = found.value if found is not None else 0
    policy = found.preemption_policy if found is not None else "PreemptLowerPriority"
    given = pod.spec.priority
    if given is not None and given != priority:
        raise forbidden(
            resource,
            _shown(pod),
            f"the integer value of priority ({given}) must not be provided in pod spec; "
            f"priority admission controller computed {priority} from the given PriorityClass name",
        )
    return priority, policy


def _global_default(view: View) -> PriorityClass | None:
    """Of several, the one with the lowest value counts (Priority plugin)."""
    defaults = [one for one in view.priority_classes() if one.global_default]
    return min(defaults, key=lambda one: (one.value, one.metadata.name)) if defaults else None


def _check_global_default(one: PriorityClass, resource: Resource, view: View) -> None:
    if not one.global_default:
        return
    other = _global_default(view)
    if other is not None and other.metadata.name != one.metadata.name:
        raise forbidden(
            resource,
            one.metadata.name,
            f"PriorityClass {other.metadata.name} is already marked as default. "
            "Only one default can exist",
        )
