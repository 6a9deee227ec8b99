"""Protobuf wire format, reading and writing, without a schema.

Reading works on a memory map and copies nothing: what is length-delimited comes back as a `Span`
of positions. See https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import ModelFormatError

__all__ = ["BYTES", "FIXED32", "FIXED64", "VARINT", "Field", "Reader", "Span", "key", "varint"]

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

# More than any network has; it bounds the time and memory that a file of nothing but fields takes.
MAX_FIELDS = 50_000


class Span(NamedTuple):
    """A stretch of the file: the positions of its first byte and of the byte after its last."""

    start: int
    stop: int


class Field(NamedTuple):
    """One field: number, wire type, value, and the span of its bytes.

    `value` is a varint's value; for a run of fixed-width values the bytes of each one's key.
    """

    number: int
    kind: int
    value: int
    span: Span


class Reader:
    """Walks the fields of a mapped file, within its bounds and within a budget of fields."""

    def __init__(self, data: mmap.mmap | bytes, where: str) -> None:
        self.data = data
        self.where = where
        self._budget = MAX_FIELDS

    @property
    def whole(self) -> Span:
        return Span(0, len(self.data))

    def fields(self, span: Span) -> Iterator[Field]:
        """Give the fields of the message in a span, in order.

        A run of unpacked fixed-width values with the same key comes back as one `Field`, whose
        span covers the run, keys and all: see `values`.
        """
        position = span.start
        while position < span.stop:
            self._spend()
            start = position
            tag, position = self._varint(position, span.stop)
            number, kind = tag >> 3, tag & 7
            value = 0
            if not 0 < number < 1 << 29:
                raise ModelFormatError(f"{self.where}: no protobuf: field {number} at byte {start}")
            first = position
            if kind == VARINT:
                value, position = self._varint(position, span.stop)
            elif kind == BYTES:
                length, first = self._varint(position, span.stop)
                position = first + length
            elif kind in (FIXED32, FIXED64):
                first, value = start, position - start
                position = self._run_end(start, position, span.stop, 4 if kind == FIXED32 else 8)
            else:
                raise ModelFormatError(
                    f"{self.where}: no protobuf: wire type {kind} at byte {start}"
                )
            if position > span.stop:
                raise ModelFormatError(
                    f"{self.where}: truncated: field {number} at byte {start} needs bytes up to "
                    f"{position}, but {span.stop} is the end"
                )
            yield Field(number, kind, value, Span(first, position))

    def text(self, span: Span) -> str:
        """Return a span as text (names; at most 1000 bytes are taken as a name)."""
        if span.stop - span.start > 1000:
            raise ModelFormatError(f"{self.where}: a name of {span.stop - span.start} bytes")
        return bytes(self.data[span.start : span.stop]).decode("utf-8", "backslashreplace")

    def varints(self, span: Span) -> list[int]:
        """Return the values of a packed field; 64 at most, for shapes have few."""
        values: list[int] = []
        position = span.start
        while position < span.stop:
            if len(values) == 64:
                raise ModelFormatError(f"{self.where}: a shape of more than 64 dimensions")
            self._spend()
            value, position = self._varint(position, span.stop)
            values.append(value)
        return values

    def values(self, field: Field, dtype: npt.DTypeLike) -> npt.NDArray[np.generic]:
        """Return a field's fixed-width values, packed or a run of unpacked ones, as a view."""
        item = np.dtype(dtype)
        start, stop = field.span
        if field.kind == BYTES:
            if (stop - start) % item.itemsize:
                raise ModelFormatError(
                    f"{self.where}: {stop - start} bytes are no whole number of {item} values"
                )
            return np.frombuffer(self.data, item, (stop - start) // item.itemsize, start)
        record = np.dtype([("key", np.uint8, (field.value,)), ("value", item)])
        count = (stop - start) // record.itemsize
        values: npt.NDArray[np.generic] = np.frombuffer(self.data, record, count, start)["value"]
        return values

    def _spend(self) -> None:
        self._budget -= 1
        if self._budget < 0:
            raise ModelFormatError(f"{self.where}: more than {MAX_FIELDS} fields")

    def _varint(self, position: int, stop: int) -> tuple[int, int]:
        value = shift = 0
        while position < stop:
            byte = self.data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & 0xFFFFFFFFFFFFFFFF, position
            shift += 7
            if shift >= 70:
                raise ModelFormatError(f"{self.where}: no protobuf: a number without an end")
        raise ModelFormatError(f"{self.where}: truncated: a number ends at byte {stop}")

    def _run_end(self, start: int, after_key: int, stop: int, width: int) -> int:
        """Find where a run of values with the same key ends, without a loop over the values."""
        size = after_key - start + width
        count = (stop - start) // size
        if count <= 1 or after_key - start > 5:
            return after_key + width
        pattern = np.frombuffer(self.data, np.uint8, after_key - start, start)
        done = 1
        ahead = 64  # little at first: a file of nothing but short runs must not cost a block each
        while done < count:
            block = min(count - done, ahead)
            ahead = min(4 * ahead, 1 << 16)
            rows = np.frombuffer(self.data, np.uint8, block * size, start + done * size)
            same = (rows.reshape(block, size)[:, : after_key - start] == pattern).all(axis=1)
            if not same.all():
                return start + (done + int(np.argmin(same))) * size
            done += block
        return start + count * size


def varint(value: int) -> bytes:
    """Encode a number; negative ones as 64-bit two's complement."""
    value &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def key(number: int, kind: int) -> bytes:
    """Encode a field's key."""
    return varint(number << 3 | kind)
