"""Protobuf wire format: a reader of mapped files, and encoders of tags and varints.

Works without a schema and without copies: length-delimited fields come back as a `Span` of byte
positions. See https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import ModelFormatError

__all__ = [
    "BYTES",
    "FIXED32",
    "FIXED64",
    "VARINT",
    "Field",
    "Reader",
    "Span",
    "encode_tag",
    "encode_varint",
]

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

MAX_FIELDS = 50_000  # per file, far above any network's; bounds the time and memory of parsing
MAX_SHAPE_DIMS = 64
MAX_NAME_BYTES = 1000
_OTHER_FILE = "the file is damaged or of another kind"


class Span(NamedTuple):
    """A range of the file: the positions of its first byte and of the byte after its last."""

    start: int
    stop: int


class Field(NamedTuple):
    """One field of a message.

    Attributes
    ----------
    number : int
        The field's number.
    kind : int
        Its wire type.
    value : int
        For a varint, its value; for a run of fixed-width values, the bytes of each one's tag.
    span : Span
        Its content; for a run of fixed-width values, the whole run with its tags.
    """

    number: int
    kind: int
    value: int
    span: Span


class Reader:
    """Iterates over the fields of a mapped file; checks bounds and the number of fields.

    Parameters
    ----------
    data : mmap or bytes
    location : str
        The file's path, for error messages.
    max_fields : int
        Fields that may be read in all.
    """

    def __init__(
        self, data: mmap.mmap | bytes, location: str, *, max_fields: int = MAX_FIELDS
    ) -> None:
        self.data = data
        self.location = location
        self._max_fields = self._fields_left = max_fields

    @property
    def whole(self) -> Span:
        """The whole file."""
        return Span(0, len(self.data))

    def fields(self, span: Span) -> Iterator[Field]:
        """Yield the fields of a message in order.

        Consecutive unpacked fixed-width values with the same tag are yielded as one `Field`: see
        `values`.
        """
        position = span.start
        while position < span.stop:
            self._count_field()
            start = position
            tag, position = self._varint(position, span.stop)
            number, kind = tag >> 3, tag & 7
            value = 0
            if not 0 < number < 1 << 29:
                raise ModelFormatError(
                    f"{self.location}: not protobuf: field {number} at byte {start}; {_OTHER_FILE}"
                )
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
                    f"{self.location}: not protobuf: wire type {kind} at byte {start}; "
                    f"{_OTHER_FILE}"
                )
            if position > span.stop:
                raise ModelFormatError(
                    f"{self.location}: truncated: field {number} at byte {start} should end at "
                    f"byte {position}, but the data ends at byte {span.stop}"
                )
            yield Field(number, kind, value, Span(first, position))

    def text(self, span: Span) -> str:
        """Return a name of at most 1000 bytes as text."""
        if span.stop - span.start > MAX_NAME_BYTES:
            raise ModelFormatError(f"{self.location}: a name has more than {MAX_NAME_BYTES} bytes")
        return bytes(self.data[span.start : span.stop]).decode("utf-8", "backslashreplace")

    def varints(self, span: Span) -> list[int]:
        """Return the values of a packed shape, at most 64."""
        values: list[int] = []
        position = span.start
        while position < span.stop:
            if len(values) == MAX_SHAPE_DIMS:
                raise ModelFormatError(
                    f"{self.location}: a shape has more than {MAX_SHAPE_DIMS} dimensions"
                )
            self._count_field()
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
                    f"{self.location}: {stop - start} bytes are not a whole number of {item} values"
                )
            return np.frombuffer(self.data, item, (stop - start) // item.itemsize, start)
        record = np.dtype([("tag", np.uint8, (field.value,)), ("value", item)])
        count = (stop - start) // record.itemsize
        values: npt.NDArray[np.generic] = np.frombuffer(self.data, record, count, start)["value"]
        return values

    def _count_field(self) -> None:
        self._fields_left -= 1
        if self._fields_left < 0:
            raise ModelFormatError(f"{self.location}: more than {self._max_fields} fields")

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
                raise ModelFormatError(
                    f"{self.location}: not protobuf: a varint has more than 10 bytes; {_OTHER_FILE}"
                )
        raise ModelFormatError(f"{self.location}: truncated: a varint is cut off at byte {stop}")

    def _run_end(self, start: int, after_tag: int, stop: int, width: int) -> int:
        """Return the end of a run of values with the same tag, without a loop over the values."""
        size = after_tag - start + width
        count = (stop - start) // size
        if count <= 1 or after_tag - start > 5:
            return after_tag + width
        pattern = np.frombuffer(self.data, np.uint8, after_tag - start, start)
        done = 1
        # Blocks grow from 64 values, so that each of many short runs costs little.
        block_size = 64
        while done < count:
            block = min(count - done, block_size)
            block_size = min(4 * block_size, 1 << 16)
            rows = np.frombuffer(self.data, np.uint8, block * size, start + done * size)
            same = (rows.reshape(block, size)[:, : after_tag - start] == pattern).all(axis=1)
            if not same.all():
                return start + (done + int(np.argmin(same))) * size
            done += block
        return start + count * size


def encode_varint(value: int) -> bytes:
    """Encode an integer as a varint; negative ones as 64-bit two's complement."""
    value &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode_tag(number: int, kind: int) -> bytes:
    """Encode the tag of a field: its number and wire type."""
    return encode_varint(number << 3 | kind)
