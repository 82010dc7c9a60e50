"""Resource quantities ("250m", "1Gi", "1e3"): exact numbers with Kubernetes' suffixes.

A quantity is a whole number of nano units, as Kubernetes keeps no more than nine decimals. Rules and texts follow
`k8s.io/apimachinery/pkg/api/resource` (quantity.go, suffix.go): what is finer than a nano is rounded away from zero, binary
quantities are capped at 2^63-1, and the canonical form has no fraction and the largest suffix that loses nothing.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

import attrs

_NANO: Final = 10**9
_MAX_BINARY: Final = (2**63 - 1) * _NANO
_MAX_DIGITS: Final = 1000
"""Longest number and largest decimal exponent read. Kubernetes sets no limit, and so can be made to work for hours."""

FORMAT_MESSAGE: Final = (
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)
NUMBER_MESSAGE: Final = "unable to parse numeric part of quantity"
SUFFIX_MESSAGE: Final = "unable to parse quantity's suffix"

_PATTERN: Final = re.compile(
    r"([+-]?)([0-9]*)(?:\.([0-9]*))?((?:[eEinumkKMGTP]*)(?:[-+]?[0-9]*))", re.ASCII
)
_DECIMAL_SUFFIXES: Final = {
    "n": -9,
    "u": -6,
    "m": -3,
    "": 0,
    "k": 3,
    "M": 6,
    "G": 9,
    "T": 12,
    "P": 15,
    "E": 18,
}
_BINARY_SUFFIXES: Final = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_SUFFIX_OF_DECIMAL_EXPONENT: Final = {value: key for key, value in _DECIMAL_SUFFIXES.items()}
_SUFFIX_OF_BINARY_EXPONENT: Final = {0: ""} | {v: k for k, v in _BINARY_SUFFIXES.items()}


class QuantityError(ValueError):
    """The text is no quantity; the message is Kubernetes'."""


class Format(enum.Enum):
    """How a quantity is written: 12M, 12Mi or 12e6."""

    DECIMAL = "DecimalSI"
    BINARY = "BinarySI"
    EXPONENT = "DecimalExponent"


@attrs.frozen(order=True, repr=False)
class Quantity:
    """An exact amount of a resource.

    Equality, order and hash go by the amount alone: 1024Mi equals 1Gi. `source` is what the quantity was read from (a text,
    or the bare number that YAML allows, `cpu: 1`), so that a manifest is written back as it came; a computed quantity
    has none and is written in `canonical` form.

    >>> str(Quantity.parse("1.5Gi")), Quantity.parse("1.5Gi").canonical
    ('1.5Gi', '1536Mi')
    >>> str(Quantity.parse("100m") + Quantity.parse("0.9"))
    '1'
    """

    nano: int
    format: Format = attrs.field(default=Format.DECIMAL, eq=False)
    source: str | int | float | None = attrs.field(default=None, eq=False)

    @staticmethod
    def parse(source: str | float) -> Quantity:
        """Read a quantity. The same source gives the same object (a bounded cache). Raises QuantityError."""
        return _parse(source)

    @staticmethod
    def of(value: int, format: Format = Format.DECIMAL) -> Quantity:  # noqa: A002 -- the field's name
        """`value` whole units."""
        return Quantity(value * _NANO, format)

    @staticmethod
    def of_milli(value: int) -> Quantity:
        """`value` thousandths, as CPU is counted."""
        return Quantity(value * 1_000_000)

    @property
    def value(self) -> int:
        """Whole units, rounded up (away from zero, as Kubernetes does)."""
        return _round_away(self.nano, _NANO)

    @property
    def milli(self) -> int:
        """Thousandths, rounded up (away from zero)."""
        return _round_away(self.nano, 1_000_000)

    @property
    def canonical(self) -> str:
        """The text Kubernetes prints."""
        return _canonical(self.nano, self.format)

    @property
    def outside(self) -> str | int | float:
        """What is written to manifests and the API: the source, or the canonical text."""
        source = self.source
        return _canonical(self.nano, self.format) if source is None else source

    def __str__(self) -> str:
        return str(self.outside)

    def __repr__(self) -> str:
        return f"Quantity({str(self)!r})"

    def __bool__(self) -> bool:
        return self.nano != 0

    def __add__(self, other: Quantity) -> Quantity:
        return Quantity(self.nano + other.nano, self.format if self.nano else other.format)

    def __sub__(self, other: Quantity) -> Quantity:
        return Quantity(self.nano - other.nano, self.format if self.nano else other.format)

    def __mul__(self, factor: int) -> Quantity:
        return Quantity(self.nano * factor, self.format)

    def __neg__(self) -> Quantity:
        return Quantity(-self.nano, self.format)


ZERO: Final = Quantity(0)

NO_RESOURCES: Final[Mapping[str, Quantity]] = MappingProxyType({})
"""The shared empty resource list."""


def _round_away(numerator: int, denominator: int) -> int:
    """Divide; what does not come out even goes to the next integer away from zero."""
    return -(-numerator // denominator) if numerator >= 0 else numerator // denominator


@lru_cache(maxsize=16384, typed=True)
def _parse(source: str | float) -> Quantity:
    match = _PATTERN.fullmatch(str(source))
    if match is None or not match[0]:
        raise QuantityError(FORMAT_MESSAGE)
    sign, whole, fraction, suffix = match[1], match[2], match[3] or "", match[4]
    base, exponent, written = _interpret(suffix)
    if len(whole) + len(fraction) > _MAX_DIGITS:
        raise QuantityError(NUMBER_MESSAGE)

    # Kubernetes reads "." and "-" as 0 (quantity_test.go, TestParseQuantityString), and so do we.
    digits = int(whole + fraction or "0")
    if base == 2:
        amount = _round_away(digits * 2**exponent * _NANO, 10 ** len(fraction))
        amount = min(amount, _MAX_BINARY)
    else:
        scale = 9 + exponent - len(fraction)
        amount = digits * 10**scale if scale >= 0 else _round_away(digits, 10**-scale)
    if written is Format.BINARY and 0 < amount < _NANO:
        written = Format.DECIMAL
    return Quantity(-amount if sign == "-" else amount, written, source)


def _interpret(suffix: str) -> tuple[int, int, Format]:
    """Base, exponent and format that a suffix stands for. Raises QuantityError."""
    if suffix in _DECIMAL_SUFFIXES:
        return 10, _DECIMAL_SUFFIXES[suffix], Format.DECIMAL
    if suffix in _BINARY_SUFFIXES:
        return 2, _BINARY_SUFFIXES[suffix], Format.BINARY
    if suffix[0] in "eE" and suffix[1:].lstrip("+-").isdigit() and len(suffix) < 20:
        exponent = int(suffix[1:])
        if exponent <= _MAX_DIGITS:
            # Far below a nano every digit is lost to the rounding up, however small the number is.
            return 10, max(exponent, -2 * _MAX_DIGITS), Format.EXPONENT
    raise QuantityError(SUFFIX_MESSAGE)


@lru_cache(maxsize=16384)
def _canonical(nano: int, written: Format) -> str:
    if nano == 0:
        return "0"
    sign, amount = ("-", -nano) if nano < 0 else ("", nano)
    units, rest = divmod(amount, _NANO)
    # A binary quantity that is small or not whole is shown as a decimal one, and loses nothing.
    if written is Format.BINARY and units >= 1024 and not rest:
        number, exponent = _factor_out(units, 1024, 6)
        return f"{sign}{number}{_SUFFIX_OF_BINARY_EXPONENT[exponent * 10]}"
    if written is Format.EXPONENT:
        number, exponent = _factor_out(amount, 1000, _MAX_DIGITS)
        exponent = exponent * 3 - 9
        return f"{sign}{number}e{exponent}" if exponent else f"{sign}{number}"
    number, exponent = _factor_out(amount, 1000, 9)
    return f"{sign}{number}{_SUFFIX_OF_DECIMAL_EXPONENT[exponent * 3 - 9]}"


def _factor_out(number: int, factor: int, limit: int) -> tuple[int, int]:
    """Divide by `factor` as often as it comes out even, `limit` times at the most."""
    times = 0
    while times < limit and number % factor == 0:
        number //= factor
        times += 1
    return number, times
