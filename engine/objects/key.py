"""What an object is called within its kind."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple


class Key(NamedTuple):
    """Namespace and name of an object; the namespace of a cluster-wide one is empty."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


make_key: Final[Callable[[tuple[str, str]], Key]] = partial(tuple.__new__, Key)
"""`Key` without the Python call that its constructor is."""
