"""The checks of a steady state: each looks at a view and says whether it holds, and what it saw."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from engine import is_ready
from wavetank.errors import BadInput
from wavetank.experiment.code import Code
from wavetank.experiment.model import (
    Check,
    DeploymentAvailable,
    NodeReady,
    PodsReady,
    PythonCheck,
)
from wavetank.result import CheckResult
from wavetank.view import View

Function = Callable[[View], object]


@attrs.define(eq=False)
class Checks:
    """The checks of one experiment. Raises BadInput when a user's function cannot be found."""

    checks: Sequence[Check]
    code: Code
    _functions: dict[str, Function] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        for check in self.checks:
            if isinstance(check, PythonCheck):
                found = self.code.get(check.target, check.where, "function")
                if not callable(found):
                    raise BadInput(f"{check.where}: {check.target} is no function")
                self._functions[check.target] = found

    def evaluate(self, view: View, at: float) -> list[CheckResult]:
        """The outcome of each check now."""
        return [self._evaluate(check, view, at) for check in self.checks]

    def _evaluate(self, check: Check, view: View, at: float) -> CheckResult:
        name, passed, message = self._look(check, view)
        return CheckResult(name=name, at=at, passed=passed, message=message)

    def _look(self, check: Check, view: View) -> tuple[str, bool, str]:
        match check:
            case DeploymentAvailable(name=name, namespace=namespace):
                title = f"deploymentAvailable {namespace}/{name}"
                try:
                    deployment = view.deployment(name, namespace)
                except LookupError as error:
                    return title, False, str(error)
                status = deployment.object.status
                seen = f"{status.available_replicas} of {deployment.desired} available"
                return title, deployment.available, seen
            case PodsReady(selector=selector, count=count, namespace=namespace):
                pods = view.pods(selector, namespace)
                ready = sum(1 for pod in pods if is_ready(pod))
                return f"podsReady {selector}", ready >= count, f"{ready} of {count} ready"
            case NodeReady(name=name):
                try:
                    node = view.node(name)
                except LookupError as error:
                    return f"nodeReady {name}", False, str(error)
                return f"nodeReady {name}", node.ready, "" if node.ready else "not ready"
            case PythonCheck(target=target):
                return self._ask(target, view)

    def _ask(self, target: str, view: View) -> tuple[str, bool, str]:
        """A user's function: True or None is well; False or a text is not; so is an exception."""
        title = f"python {target}"
        try:
            outcome = self._functions[target](view)
        except Exception as error:  # noqa: BLE001 - a user's function may raise anything
            return title, False, f"{type(error).__name__}: {error}"
        if outcome is None or outcome is True:
            return title, True, ""
        return title, False, outcome if isinstance(outcome, str) else f"returned {outcome!r}"
