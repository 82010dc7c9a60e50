"""Labelled, keyed draws: every random choice of a run, and every name and uid, as a function of the seed.

Theory of operation. There is no stream. A draw is `blake2b(seed, label, n)`: the label says what is chosen
(`"kubelet/node-3/heartbeat-jitter"`), n says which time. Adding a draw in one place therefore never shifts a draw in another,
and two runs that differ in one injected fault agree in everything else. Names and uids are drawn from what caused them
(the owner's uid and an ordinal), for the same reason.

The same numbers come out of every CPython (3.11 to 3.14) and every machine: only integer arithmetic and IEEE multiplication
are used; nothing calls `log`, whose last bit belongs to the C library.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Final, TypeVar

from engine.sim.durations import DurationRange

T = TypeVar("T")

SUFFIX_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"
"""The letters of Kubernetes' generated names (`k8s.io/apimachinery/pkg/util/rand`, `alphanums`)."""

_MAX_SUFFIX: Final = 40
"""27**40 < 2**192: a suffix of this length is still nearly uniform when taken from 256 bits."""

_VARIANT: Final = {f"{n:x}": f"{n & 3 | 8:x}" for n in range(16)}
"""The digit of a uid that holds the variant of RFC 9562, from a digit of any value."""
_UNIT: Final = 2.0**-53


class Draws:
    """The draws of one seed.

    `draws.integer("scheduler/tie", 4, 3)` is the fifth (n counts from 0) choice among three that the scheduler makes between equal
    nodes; asked again, in any order, in any process, it is the same number. A label with a fresh n is a fresh draw; repeating a
    pair repeats the number, so whoever draws keeps the count.

    A draw costs about a microsecond.
    """

    __slots__ = ("_suffixes", "_uids", "_words", "_words8", "seed")

    def __init__(self, seed: int) -> None:
        self.seed: Final = seed
        key = blake2b(str(seed).encode(), digest_size=32).digest()
        # `person` keeps the kinds of draws apart: a uid never shares bits with a draw whose label spells its path.
        self._words: Final = blake2b(digest_size=8, key=key, person=b"draw")
        self._words8: Final = blake2b(digest_size=64, key=key, person=b"stream")
        self._uids: Final = blake2b(digest_size=16, key=key, person=b"uid")
        self._suffixes: Final = blake2b(digest_size=32, key=key, person=b"suffix")

    def __repr__(self) -> str:
        return f"Draws(seed={self.seed})"

    def bits(self, label: str, n: int) -> int:
        """64 uniform bits, as an integer."""
        state = self._words.copy()
        state.update(f"{label}\0{n}".encode())
        return int.from_bytes(state.digest(), "big")

    def uniform(self, label: str, n: int, low: float = 0.0, high: float = 1.0) -> float:
        """A float in [low, high)."""
        return low + (high - low) * ((self.bits(label, n) >> 11) * _UNIT)

    def integer(self, label: str, n: int, bound: int) -> int:
        """An integer in [0, bound).

        Raises:
            ValueError: bound is not in 1 .. 2**32 (above, 64 bits would be visibly uneven).
        """
        if not 1 <= bound <= 2**32:
            raise ValueError(f"draw {label!r}: bound is {bound}, allowed are 1 to 2**32")
        return self.bits(label, n) * bound >> 64

    def chance(self, label: str, n: int, probability: float) -> bool:
        """True with this probability: never for 0, always for 1."""
        return self.uniform(label, n) < probability

    def choice(self, label: str, n: int, options: Sequence[T]) -> T:
        """One of the options, all equally likely.

        Raises:
            ValueError: there are none.
        """
        return options[self.integer(label, n, len(options))]

    def shuffled(self, label: str, n: int, items: Sequence[T]) -> list[T]:
        """The items in a drawn order; the sequence given is left alone."""
        result = list(items)
        words = self._stream(label, n)
        for last in range(len(result) - 1, 0, -1):
            other = next(words) * (last + 1) >> 64
            result[last], result[other] = result[other], result[last]
        return result

    def exponential(self, label: str, n: int, mean: float) -> float:
        """An exponentially distributed float >= 0 with this mean: the time to the next of events that know no clock.

        Von Neumann's method, which compares and counts: u1 > u2 > ... > uk <= u(k+1) has odd k with probability exp(-u1), so that u1 is
        kept then, and one is added otherwise.
        """
        words = self._stream(label, n)
        whole = 0
        while True:
            first = previous = next(words)
            length = 1
            while (word := next(words)) < previous:
                previous = word
                length += 1
            if length % 2 == 1:
                return mean * (whole + (first >> 11) * _UNIT)
            whole += 1

    def duration(self, label: str, n: int, span: DurationRange) -> float:
        """A duration of the range in seconds, in whole microseconds; drawn only when the range has a width."""
        if span.low == span.high:
            return span.low
        return round(self.uniform(label, n, span.low, span.high) * 1e6) / 1e6

    def uid(self, *path: str | int) -> str:
        """A uid in the shape of a version-4 UUID, caused by the path: `uid("apps/replicasets", owner_uid, 3)`."""
        state = self._uids.copy()
        state.update("\0".join(map(str, path)).encode())
        text = state.hexdigest()
        variant = _VARIANT[text[16]]
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"

    def suffix(self, *path: str | int, length: int = 5) -> str:
        """The random part of a generated name, caused by the path; five letters are what the API server appends."""
        if not 0 < length <= _MAX_SUFFIX:
            raise ValueError(f"suffix of {length} letters, allowed are 1 to {_MAX_SUFFIX}")
        state = self._suffixes.copy()
        state.update("\0".join(map(str, path)).encode())
        rest = int.from_bytes(state.digest(), "big")
        letters = []
        for _ in range(length):
            rest, letter = divmod(rest, len(SUFFIX_ALPHABET))
            letters.append(SUFFIX_ALPHABET[letter])
        return "".join(letters)

    def _stream(self, label: str, n: int) -> Iterator[int]:
        """Words of 64 bits without end, for the draws that need an unknown number of them; eight a hash."""
        block = 0
        while True:
            state = self._words8.copy()
            state.update(f"{label}\0{n}\0{block}".encode())
            digest = state.digest()
            for start in range(0, 64, 8):
                yield int.from_bytes(digest[start : start + 8], "big")
            block += 1
