"""Canonical bytes: equal to those of a plain encoder on every path, and read back as equal objects."""

import os
import subprocess
import sys
from collections.abc import Mapping

import attrs
import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from object_strategies import SCHEME, manifests

from engine.objects import (
    EMPTY,
    ApiType,
    Container,
    DecodeError,
    Deployment,
    Json,
    KubeObject,
    ObjectCodec,
    ObjectMeta,
    Pod,
    PodSpec,
    PodStatus,
    Quantity,
    ResourceRequirements,
    Time,
    TypedObject,
    UnknownKind,
    Unstructured,
    custom_resource,
    default_scheme,
)
from engine.objects.base import field_name_outside


def plain(value: object) -> object:  # noqa: PLR0911 -- one branch for each form
    """A slow encoder that follows the rules in the codec's docstring, and shares no code with it."""
    if isinstance(value, ApiType):
        data: dict[str, object] = {}
        for f in attrs.fields(type(value)):
            found = getattr(value, f.name)
            if f.name != "extra" and found != f.default:
                data[field_name_outside(f.name)] = plain(found)
        data = {**{key: plain(v) for key, v in value.extra.items()}, **data}
        if isinstance(value, TypedObject):
            data |= {"apiVersion": value.api_version, "kind": value.kind}
        return dict(sorted(data.items()))
    if isinstance(value, Quantity):
        return plain(value.outside)
    if isinstance(value, Time):
        return str(value)
    if isinstance(value, Mapping):
        return {key: plain(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
        return int(value)
    return value


def plain_bytes(obj: object) -> bytes:
    packed: bytes = msgpack.packb(plain(obj), unicode_errors="surrogatepass")
    return packed


CODEC = ObjectCodec(SCHEME)
SMALL_TABLE = ObjectCodec(SCHEME, parts_kept=3)
NO_TABLE = ObjectCodec(SCHEME, parts_kept=0)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(manifests(), manifests())
def test_every_path_gives_the_bytes_of_the_plain_encoder(
    one: dict[str, Json], two: dict[str, Json]
) -> None:
    """With, with little and without a table of parts; the second time too."""
    for obj in (SCHEME.from_dict(one), SCHEME.from_dict(two), SCHEME.from_dict(one)):
        expected = plain_bytes(obj)
        for codec in (CODEC, SMALL_TABLE, NO_TABLE):
            assert expected == codec.encode(obj)
            assert expected == codec.encode(obj)


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(manifests())
def test_decoded_objects_are_equal(data: dict[str, Json]) -> None:
    """Reading back gives an equal object and the same data."""
    obj = SCHEME.from_dict(data)
    decoded = CODEC.decode(CODEC.encode(obj))

    assert obj == decoded
    assert data == SCHEME.to_dict(decoded)


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(manifests(), manifests(), st.data())
def test_evolved_objects_survive(
    one: dict[str, Json], two: dict[str, Json], data: st.DataObject
) -> None:
    """An object made of parts of two others equals what its bytes decode to, whatever the first spelled out."""
    a = SCHEME.from_dict(one)
    b = (
        SCHEME.from_dict({**two, "apiVersion": one["apiVersion"], "kind": one["kind"]})
        if one["kind"] == two["kind"]
        else a
    )
    assert isinstance(a, TypedObject)
    names = [f.name for f in attrs.fields(type(a))]
    chosen = data.draw(st.lists(st.sampled_from(names), unique=True))
    evolved = attrs.evolve(a, **{name: getattr(b, name) for name in chosen})

    assert evolved == CODEC.decode(CODEC.encode(evolved))


def test_canonical_bytes() -> None:
    """The form is pinned: another one would make every recorded digest differ."""
    pod = Pod(
        metadata=ObjectMeta(name="a", labels={"z": "1", "b": "2"}),
        spec=PodSpec(
            containers=(
                Container(
                    name="c",
                    resources=ResourceRequirements(requests={"cpu": Quantity.of_milli(1500)}),
                    extra={"x": {"b": 1.0, "a": None}},
                ),
            )
        ),
        status=PodStatus(start_time=Time.parse("2026-01-01T00:00:00Z")),
    )
    expected = (
        b"\x85\xaaapiVersion\xa2v1\xa4kind\xa3Pod"
        b"\xa8metadata\x82\xa6labels\x82\xa1b\xa12\xa1z\xa11\xa4name\xa1a"
        b"\xa4spec\x81\xaacontainers\x91\x83\xa4name\xa1c"
        b"\xa9resources\x81\xa8requests\x81\xa3cpu\xa51500m\xa1x\x82\xa1a\xc0\xa1b\x01"
        b"\xa6status\x81\xa9startTime\xb42026-01-01T00:00:00Z"
    )

    assert expected == CODEC.encode(pod)


def test_bytes_do_not_depend_on_the_process() -> None:
    """Fresh processes with other hash seeds give the same bytes."""
    program = (
        "from engine.objects import *;"
        "pod = Pod(metadata=ObjectMeta(name='a', labels={k: k for k in 'qwertyuiop'}), "
        "spec=PodSpec(extra={k: {k: 1, 'a': 2} for k in 'zxcvb'}));"
        "print(ObjectCodec(default_scheme()).encode(pod).hex())"
    )
    seen = {
        subprocess.run(  # noqa: S603 -- our own interpreter
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.getcwd()},  # noqa: PTH109
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("0", "7")
    }

    assert len(seen) == 1


def test_unstructured_objects() -> None:
    """An object of a kind without a class survives being encoded and decoded."""
    scheme = default_scheme()
    scheme.register(
        custom_resource("Website", plural="websites", group="example.org", version="v1")
    )
    codec = ObjectCodec(scheme)
    data: dict[str, Json] = {
        "apiVersion": "example.org/v1",
        "kind": "Website",
        "metadata": {"name": "a"},
        "spec": {"b": [1, 2.5, None], "a": {}},
    }
    obj = scheme.from_dict(data)

    assert isinstance(obj, Unstructured)
    assert data == scheme.to_dict(obj)
    assert msgpack.packb(plain(data)) == codec.encode(obj)
    assert obj == codec.decode(codec.encode(obj))


@attrs.frozen(kw_only=True)
class Flags(TypedObject):
    api_version = "example.org/v1"
    kind = "Flags"

    spec: Mapping[str, str] = EMPTY
    status: tuple[str, ...] = ("new",)


def test_users_kinds() -> None:
    """A spec need not be a class, and a default not be empty."""
    scheme = default_scheme()
    scheme.register(custom_resource(Flags, plural="flags"))
    codec = ObjectCodec(scheme)

    for flags in (Flags(), Flags(spec={"b": "1", "a": "2"}, status=()), Flags(status=("new", "x"))):
        assert plain_bytes(flags) == codec.encode(flags)
        assert flags == codec.decode(codec.encode(flags))


def test_what_cannot_be_encoded_or_decoded() -> None:
    with pytest.raises(TypeError, match="PodSpec is no object of the API"):
        CODEC.encode(PodSpec())
    with pytest.raises(DecodeError, match="not msgpack"):
        CODEC.decode(b"\xc1")
    with pytest.raises(DecodeError, match="a list, not a map"):
        CODEC.decode(b"\x90")
    with pytest.raises(UnknownKind):
        CODEC.decode(msgpack.packb({"apiVersion": "v2", "kind": "Thing"}))


def test_shared_parts_are_packed_once() -> None:
    """A status update packs the status alone: the rest is taken from the table, by identity."""
    codec = ObjectCodec(SCHEME)
    pod: KubeObject = SCHEME.from_dict(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "a"},
            "spec": {"containers": [{"name": "c"}]},
        }
    )
    assert isinstance(pod, Pod)
    codec.encode(pod)
    before = dict(codec._parts)
    codec.encode(attrs.evolve(pod, status=PodStatus(phase="Running")))

    assert before == codec._parts
    assert len(before) == 3, "metadata, spec and the container"


def test_the_table_is_bounded() -> None:
    for index in range(20):
        SMALL_TABLE.encode(Deployment(metadata=ObjectMeta(name=str(index))))

    assert len(SMALL_TABLE._parts) <= 3
