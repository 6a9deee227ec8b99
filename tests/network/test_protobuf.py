"""Tests of the protobuf wire format."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colorcv.errors import ModelFormatError
from colorcv.network import protobuf
from colorcv.network.protobuf import (
    BYTES,
    FIXED32,
    FIXED64,
    VARINT,
    Reader,
    encode_tag,
    encode_varint,
)


def read(data: bytes) -> list[protobuf.Field]:
    reader = Reader(data, "t")
    return list(reader.fields(reader.whole))


@given(st.integers(0, 2**64 - 1))
def test_varints_round_trip(value: int) -> None:
    (field,) = read(encode_tag(3, VARINT) + encode_varint(value))
    assert field[:3] == (3, VARINT, value)


def test_known_encodings() -> None:
    # The examples of protobuf's own documentation: 150 in field 1, "testing" in field 2.
    assert encode_tag(1, VARINT) + encode_varint(150) == bytes.fromhex("089601")
    (field,) = read(bytes.fromhex("120774657374696e67"))
    assert field.number == 2
    assert Reader(bytes.fromhex("120774657374696e67"), "t").text(field.span) == "testing"
    assert encode_varint(-1) == b"\xff" * 9 + b"\x01"


@pytest.mark.parametrize(("kind", "dtype"), [(FIXED32, "<f4"), (FIXED64, "<f8")])
@pytest.mark.parametrize("count", [1, 2, 7, 70_000])
@pytest.mark.parametrize("number", [5, 2000])
def test_run_of_values_is_one_field(kind: int, dtype: str, count: int, number: int) -> None:
    values = np.arange(count).astype(dtype)
    run = b"".join(encode_tag(number, kind) + v.tobytes() for v in values)
    after = (
        encode_tag(number + 1, kind)
        + values[:1].tobytes()
        + encode_tag(1, VARINT)
        + encode_varint(9)
    )
    data = run + after
    reader = Reader(data, "t")
    first, second, third = reader.fields(reader.whole)
    np.testing.assert_array_equal(reader.values(first, dtype), values)
    np.testing.assert_array_equal(reader.values(second, dtype), values[:1])
    assert third[:3] == (1, VARINT, 9)


def test_run_with_a_tag_longer_than_needed() -> None:
    data = (b"\xad\x00" + np.float32(2).tobytes()) * 3  # field 5, its tag in two bytes
    reader = Reader(data, "t")
    (field,) = reader.fields(reader.whole)
    np.testing.assert_array_equal(reader.values(field, "<f4"), [2, 2, 2])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x80", "truncated: a varint is cut off at byte 1"),
        (b"\x80" * 11, "a varint has more than 10 bytes"),
        (
            encode_tag(1, BYTES) + encode_varint(5) + b"abc",
            "truncated: field 1 at byte 0 should end at byte 7",
        ),
        (encode_tag(1, BYTES) + encode_varint(2**64 - 1), "truncated"),
        (encode_tag(1, FIXED32) + b"abc", "truncated"),
        (encode_tag(1, FIXED64) * 2 + b"abcdef", "truncated"),
        (b"\x00\x00", "field 0"),
        (encode_tag(1, 3), "wire type 3"),
        (encode_tag(1, 6), "wire type 6"),
        (b"\x08\x00" * (protobuf.MAX_FIELDS + 1), f"more than {protobuf.MAX_FIELDS} fields"),
    ],
)
def test_wrong_bytes_are_rejected(data: bytes, message: str) -> None:
    with pytest.raises(ModelFormatError, match=f"^t: .*{message}"):
        read(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_rejected(data: bytes) -> None:
    try:
        fields = read(data)
    except ModelFormatError:
        return
    assert all(0 <= f.span.start <= f.span.stop <= len(data) for f in fields if f.kind != VARINT)
