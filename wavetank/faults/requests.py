"""Which requests a fault is about: parameters that several families share, and the draw whether it strikes one."""

from __future__ import annotations

from typing import Final

from engine import Matching, Odds
from wavetank.errors import BadInput
from wavetank.faults.model import Blow, Parameter, ParameterKind

KIND: Final = Parameter(
    kind=ParameterKind.TEXT,
    about="of objects, as Pod; all when it is not named",
    default="",
)
CHANCE: Final = Parameter(
    kind=ParameterKind.CHANCE,
    about="that it strikes a request",
    default=1.0,
    hunted=(0.1, 0.5, 1.0),
)
WRITE_VERB: Final = Parameter(
    kind=ParameterKind.CHOICE,
    about="of writes",
    default="write",
    choices=("write", "create", "update", "patch", "delete"),
)
VERB: Final = Parameter(
    kind=ParameterKind.CHOICE,
    about="of requests; write and read name several, any all",
    default="any",
    choices=(
        "any",
        "write",
        "read",
        "create",
        "update",
        "patch",
        "delete",
        "get",
        "list",
        "watch",
    ),
    hunted=("any", "write", "read"),
)
PROCESS: Final = Parameter(
    kind=ParameterKind.TEXT,
    about="that asks, with * and ? as in file names, as kubelet/*; all when it is not named",
    default="",
)


def kind_of(blow: Blow) -> str:
    """The parameter `kind`. Raises BadInput for a kind that the cluster does not know."""
    kind = blow.text("kind")
    known = dict.fromkeys(resource.kind for resource in blow.world.client.scheme.resources)
    if kind and kind not in known:
        raise BadInput(f"parameters.kind: {kind!r}; allowed: {', '.join(sorted(known))}")
    return kind


def odds_of(blow: Blow, *, process: str = "") -> Odds:
    """Whom the parameters `verb`, `kind` and `chance` (1 when there is none) mean. Raises BadInput."""
    verb = blow.text("verb")
    return Odds(
        matching=Matching(verb="" if verb == "any" else verb, kind=kind_of(blow), process=process),
        chance=blow.number("chance") if "chance" in blow.parameters else 1.0,
        draws=blow.world.draws,
        label=blow.id,
    )
