"""A function's results remembered by the identity of its argument.

Objects are immutable and shared: a thousand pods made from one template carry the very same spec. What is computed from such a part
alone (its defaults, its faults) is computed once. Equality would cost more than the work saved, and frozen objects with
mappings in them have no hash.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeVar

import attrs

K = TypeVar("K")
R = TypeVar("R")

LIMIT: Final = 4096
"""How many results are kept; the oldest goes first."""


@attrs.define(eq=False)
class IdentityMemo(Generic[K, R]):
    """`memo(argument)` is `function(argument)`. The argument is kept alive, so that its identity is not used again."""

    function: Callable[[K], R]
    limit: int = LIMIT
    _known: dict[int, tuple[K, R]] = attrs.field(factory=dict, init=False, repr=False)

    def __call__(self, argument: K) -> R:
        found = self._known.get(id(argument))
        if found is not None:
            return found[1]
        result = self.function(argument)
        if len(self._known) >= self.limit:
            del self._known[next(iter(self._known))]
        self._known[id(argument)] = (argument, result)
        return result
