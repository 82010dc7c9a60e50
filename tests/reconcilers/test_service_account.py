"""Every active namespace has its default account."""

from __future__ import annotations

import pytest

from engine import Namespace, NamespaceStatus, ObjectMeta, ServiceAccount, Time
from reconcilers.service_account import CreateAccount, Observed, plan

ACCOUNT = ServiceAccount(metadata=ObjectMeta(name="default", namespace="shop"))


@pytest.mark.parametrize(
    ("phase", "leaving", "account", "creates"),
    [
        ("Active", False, None, True),
        ("", False, None, True),
        ("Active", False, ACCOUNT, False),
        ("Terminating", True, None, False),
        ("Active", True, None, False),
    ],
)
def test_the_missing_account_is_made(
    phase: str, leaving: bool, account: ServiceAccount | None, creates: bool
) -> None:
    """In active namespaces only."""
    namespace = Namespace(
        metadata=ObjectMeta(name="shop", deletion_timestamp=Time(0) if leaving else None),
        status=NamespaceStatus(phase=phase),
    )

    actions = plan(Observed(namespace=namespace, account=account))

    assert ((CreateAccount(ACCOUNT),) if creates else ()) == actions
