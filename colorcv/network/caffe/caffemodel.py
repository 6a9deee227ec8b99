"""Caffe's weights file: the layers of a NetParameter with their blobs, as views into the file.

Field numbers are those of caffe.proto (BSD 2-Clause, the Berkeley Vision and Learning Center) and
of OpenCV's extension of it for half precision (raw_data_type, raw_data).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...errors import ModelFormatError
from ..protobuf import BYTES, FIXED32, FIXED64, VARINT, Field, Reader, Span
from .files import map_file

__all__ = ["Blob", "read"]

_NET_LAYERS_V1, _NET_LAYER = 2, 100
_LAYER_NAME, _LAYER_BLOBS = 1, 7
_OLD_SHAPE, _SHAPE = (1, 2, 3, 4), 7
_RAW_TYPE_FLOAT16 = 2

MAX_CHUNKS = 64  # one is usual; each costs a thousand bytes

# Where a blob's numbers can stand: field number -> (dtype, wire type of unpacked values).
_DATA: dict[int, tuple[npt.DTypeLike, int]] = {
    5: ("<f4", FIXED32),
    8: ("<f8", FIXED64),
    12: ("<f2", BYTES),
}


@dataclass(frozen=True)
class Blob:
    """One blob: `values` is flat, float16, 32 or 64, and a view into the mapped file.

    `offset` is where in the file they stand, in bytes, where they stand there as plain float32.
    """

    shape: tuple[int, ...]
    values: npt.NDArray[np.floating]
    offset: int | None = None


def read(path: Path) -> dict[str, list[Blob]]:
    """Read a caffemodel: for each layer that has blobs, its name and the blobs.

    The file is mapped, not read: it stays open for as long as any of the blobs lives.

    Raises
    ------
    ModelFormatError
        The file cannot be read, is truncated or foreign, or holds V1 layers only.
    """
    data = map_file(path, "caffemodel")
    reader = Reader(data, str(path))
    layers: dict[str, list[Blob]] = {}
    old_layers = 0
    for field in reader.fields(reader.whole):
        if field.number == _NET_LAYER and field.kind == BYTES:
            name, blobs = _layer(reader, field.span)
            if not blobs:
                continue
            if name in layers:
                raise ModelFormatError(f"{path}: the layer {name!r} has blobs twice")
            layers[name] = blobs
        elif field.number == _NET_LAYERS_V1:
            old_layers += 1
    if not layers:
        raise ModelFormatError(
            f"{path}: this caffemodel has V1 layers only (Caffe before 2014), which cannot hold "
            "this network: convert it with Caffe's upgrade_net_proto_binary"
            if old_layers
            else f"{path}: this is no caffemodel with weights: no layer in it has blobs"
        )
    return layers


def _layer(reader: Reader, span: Span) -> tuple[str, list[Blob]]:
    name = ""
    spans: list[Span] = []
    for field in reader.fields(span):
        if field.number == _LAYER_NAME and field.kind == BYTES:
            name = reader.text(field.span)
        elif field.number == _LAYER_BLOBS and field.kind == BYTES:
            spans.append(field.span)
    where = f"{reader.where}: layer {name!r}"
    return name, [_blob(reader, s, f"{where}, blob {i}") for i, s in enumerate(spans)]


def _blob(reader: Reader, span: Span, where: str) -> Blob:
    old_shape = [0, 0, 0, 0]
    shape: list[int] | None = None
    chunks: list[npt.NDArray[np.floating]] = []
    source = raw_type = offset = None
    for field in reader.fields(span):
        if field.number in _OLD_SHAPE and field.kind == VARINT:
            old_shape[field.number - 1] = field.value
        elif field.number == _SHAPE and field.kind == BYTES:
            shape = _shape(reader, field.span)
        elif field.number == 10 and field.kind == VARINT:
            raw_type = field.value
        elif field.number in _DATA:
            dtype, unpacked_kind = _DATA[field.number]
            if field.kind not in (BYTES, unpacked_kind):
                raise ModelFormatError(f"{where}: its numbers have wire type {field.kind}")
            if source not in (None, field.number):
                raise ModelFormatError(f"{where}: its numbers stand there twice, in two forms")
            source = field.number
            offset = field.span.start if (field.number, field.kind) == (5, BYTES) else None
            chunks.append(_floats(reader, field, dtype))
            if len(chunks) > MAX_CHUNKS:
                raise ModelFormatError(f"{where}: its numbers stand in more than {MAX_CHUNKS} runs")
    if source == 12 and raw_type != _RAW_TYPE_FLOAT16:
        raise ModelFormatError(
            f"{where}: raw data of type {raw_type}, only {_RAW_TYPE_FLOAT16} (float16) is taken"
        )
    if not chunks:
        raise ModelFormatError(f"{where}: it holds no numbers")
    values = chunks[0] if len(chunks) == 1 else np.concatenate(chunks)
    if shape is None:
        shape = old_shape if any(old_shape) else [values.size]
    if any(not 0 < dim < 1 << 31 for dim in shape) or math.prod(shape) != values.size:
        raise ModelFormatError(f"{where}: shape {tuple(shape)}, but {values.size} numbers")
    return Blob(tuple(shape), values, offset if len(chunks) == 1 else None)


def _floats(reader: Reader, field: Field, dtype: npt.DTypeLike) -> npt.NDArray[np.floating]:
    values: npt.NDArray[np.floating] = reader.values(field, dtype)  # type: ignore[assignment]
    return values


def _shape(reader: Reader, span: Span) -> list[int]:
    shape: list[int] = []
    for field in reader.fields(span):
        if field.number == 1 and field.kind in (VARINT, BYTES):
            shape += [field.value] if field.kind == VARINT else reader.varints(field.span)
        if len(shape) > 64:
            raise ModelFormatError(f"{reader.where}: a shape of more than 64 dimensions")
    return shape
