r"""Keys, ranges of keys, and a sorted set of keys.

A range is named as in etcd by its first key and an end that is not part of it:

    key   range_end          the range is
    k     None               the key k alone
    k     prefix_end(k)      all keys that begin with k
    k     e                  all keys from k up to, and without, e
    k     "\0" (FROM_KEY)    all keys from k on
    "\0"  "\0"               all keys (ALL_KEYS)

Keys are compared by code point, which is also the order of their UTF-8 bytes, and so etcd's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, cast

import attrs
from sortedcontainers import SortedList

from store.errors import InvalidRequest

FROM_KEY: Final = "\0"
"""The range end that stands for no end."""

ALL_KEYS: Final = ("\0", FROM_KEY)
"""Key and range end of the range of all keys."""

_LAST_CODE_POINT: Final = 0x10FFFF
_BEFORE_SURROGATES: Final = 0xD7FF
_AFTER_SURROGATES: Final = 0xE000


def prefix_end(prefix: str) -> str:
    """The range end of all keys that begin with `prefix`; FROM_KEY when no key is above them.

    >>> prefix_end("/registry/pods/")
    '/registry/pods0'
    """
    for position in range(len(prefix) - 1, -1, -1):
        point = ord(prefix[position])
        if point < _LAST_CODE_POINT:
            # Surrogates have no UTF-8 form, so no key contains one (tests/store/test_keys.py).
            after = _AFTER_SURROGATES if point == _BEFORE_SURROGATES else point + 1
            return prefix[:position] + chr(after)
    return FROM_KEY


@attrs.frozen
class KeyRange:
    """A range of keys: `start` and what follows it, before `end`; no `end` means without bound."""

    start: str
    end: str | None

    @classmethod
    def of(cls, key: str, range_end: str | None) -> KeyRange:
        """The range that a request names. Raises InvalidRequest for an empty key."""
        if not key:
            raise InvalidRequest('the key is empty; all keys are the range from "\\0" to "\\0"')
        if not range_end:
            # An empty end is none, as in etcd (tests/store/etcd/test_equivalence.py).
            return cls(key, key + "\0")
        if range_end == FROM_KEY:
            return cls(key, None)
        return cls(key, range_end)

    @property
    def empty(self) -> bool:
        """Whether no key can be in the range."""
        return self.end is not None and self.end <= self.start

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.start <= key and (self.end is None or key < self.end)


class SortedKeys:
    """A set of keys in order; every operation costs O(log n), reading k keys O(log n + k)."""

    __slots__ = ("_keys",)

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._keys = SortedList(keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def add(self, key: str) -> None:
        """Add a key that is not there."""
        self._keys.add(key)

    def remove(self, key: str) -> None:
        """Remove a key that is there."""
        self._keys.remove(key)

    def count(self, keys: KeyRange) -> int:
        """How many keys lie in the range."""
        if keys.empty:
            return 0
        end = len(self._keys) if keys.end is None else self._keys.bisect_left(keys.end)
        return int(end - self._keys.bisect_left(keys.start))

    def within(self, keys: KeyRange, limit: int = 0) -> list[str]:
        """The keys of the range in order, at most `limit` of them; 0 means all."""
        if keys.empty:
            return []
        start = self._keys.bisect_left(keys.start)
        end = len(self._keys) if keys.end is None else self._keys.bisect_left(keys.end)
        if limit:
            end = min(end, start + limit)
        return cast("list[str]", list(self._keys.islice(start, end)))

    def check(self) -> None:
        """Assert the order and that no key stands twice."""
        keys = list(self._keys)
        assert keys == sorted(dict.fromkeys(keys)), "keys out of order, or twice"
