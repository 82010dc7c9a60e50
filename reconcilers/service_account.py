"""The service account controller: every active namespace has the ServiceAccount `default`.

Pods that name no account get this one, and are refused until it exists (controllers.md 5.5.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final, TypeAlias, cast

import attrs

from engine import (
    AlreadyExists,
    ApiError,
    Done,
    For,
    Key,
    Namespace,
    ObjectMeta,
    Reconciler,
    Result,
    ServiceAccount,
    Source,
    Watches,
)
from reconcilers.ownership import namespace_is_terminating

DEFAULT_ACCOUNT: Final = "default"


@attrs.frozen(kw_only=True)
class Observed:
    """A namespace, and the account it should have."""

    namespace: Namespace
    account: ServiceAccount | None


@attrs.frozen
class CreateAccount:
    """Create it."""

    account: ServiceAccount


Action: TypeAlias = CreateAccount


def plan(observed: Observed) -> tuple[Action, ...]:
    """The missing account of a namespace that is not being deleted."""
    metadata = observed.namespace.metadata
    leaving = (
        metadata.deletion_timestamp is not None or observed.namespace.status.phase == "Terminating"
    )
    if leaving or observed.account is not None:
        return ()
    account = ServiceAccount(metadata=ObjectMeta(name=DEFAULT_ACCOUNT, namespace=metadata.name))
    return (CreateAccount(account),)


def _namespace_key(account: ServiceAccount) -> tuple[Key, ...]:
    if account.metadata.name != DEFAULT_ACCOUNT:
        return ()
    return (Key("", account.metadata.namespace),)


class ServiceAccountReconciler(Reconciler):
    """Reconciles namespaces, by name."""

    name: ClassVar[str] = "serviceaccount"
    component: ClassVar[str] = "service-account-controller"

    def sources(self) -> Sequence[Source]:
        """Namespaces, and the accounts called `default`."""
        sources = (For(Namespace), Watches(ServiceAccount, keys=_namespace_key))
        return cast("Sequence[Source]", sources)

    async def reconcile(self, key: Key) -> Result:
        """Create the account if it is missing."""
        namespace = self.informer(Namespace).get(key)
        if namespace is None:
            return Done()
        account = self.informer(ServiceAccount).get(Key(key.name, DEFAULT_ACCOUNT))
        for action in plan(Observed(namespace=namespace, account=account)):
            try:
                await self.client.create(action.account)
            except AlreadyExists:
                continue
            except ApiError as error:
                if not namespace_is_terminating(error):
                    raise
        return Done()
