"""Packed varints: integers of 7 bits a byte, one after the other, as protobuf stores them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ...errors import ModelFormatError
from ..protobuf import Reader, Span

__all__ = ["count_varints", "decode_varints"]

_CHUNK = 1 << 16  # bytes decoded at a time


def count_varints(reader: Reader, span: Span) -> int:
    """Return the number of varints that end in a span."""
    count = 0
    for start in range(span.start, span.stop, _CHUNK):
        size = min(_CHUNK, span.stop - start)
        count += int(np.count_nonzero(np.frombuffer(reader.data, np.uint8, size, start) < 0x80))
    return count


def decode_varints(reader: Reader, span: Span, count: int, location: str) -> npt.NDArray[np.int64]:
    """Decode `count` packed varints, in chunks that bound the memory."""
    out = np.empty(count, np.uint64)
    start, done = span.start, 0
    while start < span.stop:
        data = np.frombuffer(reader.data, np.uint8, min(_CHUNK, span.stop - start), start)
        ends = np.flatnonzero(data < 0x80)
        starts = np.append(0, ends[:-1] + 1)
        if not ends.size or (ends - starts).max() >= 10:
            raise ModelFormatError(f"{location}: not protobuf: a varint has more than 10 bytes")
        values = np.zeros(ends.size, np.uint64)
        for index in range(int((ends - starts).max()) + 1):
            has = starts + index <= ends
            bits = data[starts[has] + index].astype(np.uint64) & np.uint64(0x7F)
            values[has] |= bits << np.uint64(7 * index)
        out[done : done + ends.size] = values
        done += ends.size
        start += int(ends[-1]) + 1
    return out.view(np.int64)
