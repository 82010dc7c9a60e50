"""Quantities against the tables of apimachinery (quantity_test.go), and their arithmetic against fractions."""

import fractions

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.objects.quantity import (
    FORMAT_MESSAGE,
    SUFFIX_MESSAGE,
    ZERO,
    Format,
    Quantity,
    QuantityError,
)

NANO = 10**9
SUFFIXES = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]


@pytest.mark.parametrize(
    ("text", "nano", "written"),
    [
        ("0", 0, Format.DECIMAL),
        ("0Ki", 0, Format.BINARY),
        ("1", NANO, Format.DECIMAL),
        ("1Ki", 1024 * NANO, Format.BINARY),
        ("7Mi", 7 * 2**20 * NANO, Format.BINARY),
        ("3Ei", 3 * 2**60 * NANO, Format.BINARY),
        ("5n", 5, Format.DECIMAL),
        ("4u", 4_000, Format.DECIMAL),
        ("3m", 3_000_000, Format.DECIMAL),
        ("50k", 50_000 * NANO, Format.DECIMAL),
        ("1E", 10**18 * NANO, Format.DECIMAL),
        ("12E", 12 * 10**18 * NANO, Format.DECIMAL),
        ("1E-3", 1_000_000, Format.EXPONENT),
        ("1.3E+6", 1_300_000 * NANO, Format.EXPONENT),
        ("1e14", 10**14 * NANO, Format.EXPONENT),
        ("0.5e-2", 5_000_000, Format.EXPONENT),
        ("100.035k", 100_035 * NANO, Format.DECIMAL),
        ("0.00050k", NANO // 2, Format.DECIMAL),
        ("3.001n", 4, Format.DECIMAL),
        ("1.1E-9", 2, Format.EXPONENT),
        ("0.0000000001", 1, Format.DECIMAL),
        ("0.00000012345", 124, Format.DECIMAL),
        ("9Ei", (2**63 - 1) * NANO, Format.BINARY),
        ("9223372036854775807Ki", (2**63 - 1) * NANO, Format.BINARY),
        ("100.035Ki", 10243584 * NANO // 100, Format.BINARY),
        ("0.5Mi", 2**19 * NANO, Format.BINARY),
        ("0.000000000001Ki", 2, Format.DECIMAL),
        (".001", 1_000_000, Format.DECIMAL),
        ("1.", NANO, Format.DECIMAL),
        ("1.G", 10**9 * NANO, Format.DECIMAL),
        (".", 0, Format.DECIMAL),
        ("+1", NANO, Format.DECIMAL),
        (0.5, NANO // 2, Format.DECIMAL),
        (2, 2 * NANO, Format.DECIMAL),
    ],
)
def test_parse(text: str, nano: int, written: Format) -> None:
    """Amount and format are those of Kubernetes, with either sign."""
    quantity = Quantity.parse(text)

    assert (nano, written) == (quantity.nano, quantity.format)
    if isinstance(text, str) and not text.startswith("+"):
        assert -nano == Quantity.parse(f"-{text}").nano


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("1024Mi", "1Gi"),
        ("307200Ki", "300Mi"),
        ("1025024Mi", "1001Gi"),
        ("1024Gi", "1Ti"),
        ("1.5Gi", "1536Mi"),
        ("5Ki", "5Ki"),
        ("1000M", "1G"),
        ("0.001T", "1G"),
        ("1000u", "1m"),
        ("0.1", "100m"),
        ("1.08", "1080m"),
        ("1080000000n", "1080m"),
        ("1234567M", "1234567M"),
        ("1025", "1025"),
        (".001e12", "1e9"),
        ("0.001e0", "1e-3"),
        ("1000e-12", "1e-9"),
        ("80e-3", "80e-3"),
        ("100e3", "100e3"),
        ("00", "0"),
        ("0Gi", "0"),
        (".001Ki", "1024m"),
        (".000000001Ki", "1024n"),
        ("0.5Ki", "512"),
        ("-1024Mi", "-1Gi"),
        ("1000", "1k"),
    ],
)
def test_canonical_form(text: str, canonical: str) -> None:
    """The canonical form is what Kubernetes prints, and reads back as the same amount."""
    quantity = Quantity.parse(text)

    assert canonical == quantity.canonical
    assert Quantity.parse(canonical) == quantity
    assert text == str(quantity), "what was read is kept as it came"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", FORMAT_MESSAGE),
        (" 1", FORMAT_MESSAGE),
        ("1 ", FORMAT_MESSAGE),
        ("1.1.M", FORMAT_MESSAGE),
        ("aoeu", FORMAT_MESSAGE),
        ("0.1am", FORMAT_MESSAGE),
        ("1Gb", FORMAT_MESSAGE),
        ("1i", SUFFIX_MESSAGE),
        ("0.1mi", SUFFIX_MESSAGE),
        ("-3.01e-", SUFFIX_MESSAGE),
        ("1e", SUFFIX_MESSAGE),
        ("1e9999999999", SUFFIX_MESSAGE),
        ("٣", FORMAT_MESSAGE),
    ],
)
def test_bad_quantities(text: str, message: str) -> None:
    """What is no quantity is refused in Kubernetes' words."""
    with pytest.raises(QuantityError) as caught:
        Quantity.parse(text)

    assert message == str(caught.value)


def test_rounding() -> None:
    """Whole and milli values are rounded up, away from zero."""
    assert (Quantity.parse("1n").value, Quantity.parse("1n").milli) == (1, 1)
    assert (Quantity.parse("1.5").value, Quantity.parse("1.5").milli) == (2, 1500)
    assert (Quantity.parse("-1.5").value, Quantity.parse("-1.5").milli) == (-2, -1500)
    assert Quantity.parse("1Gi").value == 2**30


def test_equality_is_of_amounts() -> None:
    """Equal amounts are equal and hash alike, however they were written."""
    assert Quantity.parse("1024Mi") == Quantity.parse("1Gi")
    assert len({Quantity.parse("1"), Quantity.parse("1000m"), Quantity.parse(1)}) == 1
    assert Quantity.parse("100m") < Quantity.parse("0.2")
    assert Quantity.parse("10000T") > Quantity.parse("100Gi")


def test_sums_keep_the_format_of_what_is_not_zero() -> None:
    """Zero takes the format of what is added to it (quantity_test.go, TestQuantityAddZeroPreservesSuffix)."""
    assert str(ZERO + Quantity.parse("1Gi")) == "1Gi"
    assert str(Quantity.parse("1Gi") + ZERO) == "1Gi"
    assert str(ZERO - Quantity.parse("100m")) == "-100m"
    assert str(Quantity.parse("1Gi") * 3) == "3Gi"
    assert str(-Quantity.parse("9.01")) == "-9010m"


AMOUNTS = st.builds(
    lambda whole, fraction, suffix: (f"{whole}.{fraction:04d}{suffix}", whole, fraction, suffix),
    st.integers(0, 10**4),
    st.integers(0, 9999),
    st.sampled_from(SUFFIXES),
)


@given(AMOUNTS, AMOUNTS)
def test_arithmetic_is_exact(
    one: tuple[str, int, int, str], two: tuple[str, int, int, str]
) -> None:
    """Sums, differences and order agree with fractions; what is parsed is at the most a nano above its text."""
    a, b = Quantity.parse(one[0]), Quantity.parse(two[0])

    assert fractions.Fraction((a + b).nano, NANO) == fractions.Fraction(a.nano + b.nano, NANO)
    assert (a < b) is (a.nano < b.nano)
    assert a + b - b == a
    for quantity, (_, whole, fraction, suffix) in ((a, one), (b, two)):
        unit = (
            fractions.Fraction(1024 ** (SUFFIXES.index(suffix) - 9))
            if suffix.endswith("i")
            else fractions.Fraction(10) ** (3 * SUFFIXES.index(suffix) - 9)
        )
        exact = min((whole + fractions.Fraction(fraction, 10**4)) * unit * NANO, 2**63 * NANO)
        if quantity.nano < (2**63 - 1) * NANO:
            assert 0 <= quantity.nano - exact < 1


@given(st.integers(-(2**70), 2**70), st.sampled_from(Format))
def test_canonical_text_loses_nothing(nano: int, written: Format) -> None:
    """Any computed quantity that Kubernetes can hold reads back as the same amount."""
    quantity = Quantity(nano, written)
    if abs(nano) <= (2**63 - 1) * NANO:
        assert quantity == Quantity.parse(quantity.canonical)
