"""Reader of caffemodel files: the blobs of each layer, as views into the mapped file.

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
from ..files import map_file
from ..protobuf import BYTES, FIXED32, FIXED64, MAX_SHAPE_DIMS, VARINT, Field, Reader, Span

__all__ = ["Blob", "read"]

_NET_LAYERS_V1, _NET_LAYER = 2, 100
_LAYER_NAME, _LAYER_BLOBS = 1, 7
_OLD_SHAPE, _SHAPE, _RAW_TYPE = (1, 2, 3, 4), 7, 10
_DATA_FLOAT, _DATA_DOUBLE, _DATA_RAW = 5, 8, 12
_RAW_TYPE_FLOAT16 = 2
_MAX_DIM = 1 << 31

MAX_CHUNKS = 64  # packed data fields of one blob; usually one. Each takes 1 kB of memory.

# Data field of a blob -> (dtype, wire type of unpacked values)
_DATA: dict[int, tuple[npt.DTypeLike, int]] = {
    _DATA_FLOAT: ("<f4", FIXED32),
    _DATA_DOUBLE: ("<f8", FIXED64),
    _DATA_RAW: ("<f2", BYTES),
}


@dataclass(frozen=True)
class Blob:
    """One array of weights.

    Attributes
    ----------
    shape : tuple of int
    values : (size,) float16, float32 or float64
        A view into the mapped file.
    offset : int, optional
        Byte offset of the values in the file, if they are stored there as packed float32.
    """

    shape: tuple[int, ...]
    values: npt.NDArray[np.floating]
    offset: int | None = None


def read(path: Path) -> dict[str, list[Blob]]:
    """Read the blobs of a caffemodel, by the name of their layer.

    The file is mapped, not read, and stays open while any of the blobs exists.

    Raises
    ------
    ModelFormatError
        The file cannot be read, is truncated, is not a caffemodel, or has V1 layers only.
    """
    reader = Reader(map_file(path, "caffemodel"), str(path))
    layers: dict[str, list[Blob]] = {}
    has_v1_layers = False
    for field in reader.fields(reader.whole):
        if field.number == _NET_LAYER and field.kind == BYTES:
            name, blobs = _layer(reader, field.span)
            if not blobs:
                continue
            if name in layers:
                raise ModelFormatError(f"{path}: layer {name!r} occurs twice")
            layers[name] = blobs
        elif field.number == _NET_LAYERS_V1:
            has_v1_layers = True
    if not layers:
        raise ModelFormatError(
            f"{path}: V1 layers (Caffe before 2014) are not supported; convert the caffemodel with "
            "Caffe's upgrade_net_proto_binary"
            if has_v1_layers
            else f"{path}: not a caffemodel with weights: no layer has blobs"
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
    location = f"{reader.location}: layer {name!r}"
    return name, [
        _blob(reader, blob_span, f"{location}, blob {index}")
        for index, blob_span in enumerate(spans)
    ]


def _blob(reader: Reader, span: Span, location: str) -> Blob:
    old_shape = [0, 0, 0, 0]
    shape: list[int] | None = None
    chunks: list[npt.NDArray[np.floating]] = []
    data_field = raw_type = offset = None
    for field in reader.fields(span):
        if field.number in _OLD_SHAPE and field.kind == VARINT:
            old_shape[field.number - 1] = field.value
        elif field.number == _SHAPE and field.kind == BYTES:
            shape = _shape(reader, field.span)
        elif field.number == _RAW_TYPE and field.kind == VARINT:
            raw_type = field.value
        elif field.number in _DATA:
            dtype, unpacked_kind = _DATA[field.number]
            if field.kind not in (BYTES, unpacked_kind):
                raise ModelFormatError(
                    f"{location}: unexpected wire type {field.kind} of its values"
                )
            if data_field not in (None, field.number):
                raise ModelFormatError(f"{location}: its values are given in two formats")
            data_field = field.number
            is_packed_float32 = (field.number, field.kind) == (_DATA_FLOAT, BYTES)
            offset = field.span.start if is_packed_float32 else None
            chunks.append(_floats(reader, field, dtype))
            if len(chunks) > MAX_CHUNKS:
                raise ModelFormatError(
                    f"{location}: its values are split into more than {MAX_CHUNKS} parts"
                )
    if data_field == _DATA_RAW and raw_type != _RAW_TYPE_FLOAT16:
        raise ModelFormatError(
            f"{location}: raw_data_type must be {_RAW_TYPE_FLOAT16} (float16), got {raw_type}"
        )
    if not chunks:
        raise ModelFormatError(f"{location}: it has no values")
    values = chunks[0] if len(chunks) == 1 else np.concatenate(chunks)
    if shape is None:
        shape = old_shape if any(old_shape) else [values.size]
    if any(not 0 < dim < _MAX_DIM for dim in shape) or math.prod(shape) != values.size:
        raise ModelFormatError(
            f"{location}: shape {tuple(shape)} does not match {values.size} values"
        )
    return Blob(tuple(shape), values, offset if len(chunks) == 1 else None)


def _floats(reader: Reader, field: Field, dtype: npt.DTypeLike) -> npt.NDArray[np.floating]:
    values: npt.NDArray[np.floating] = reader.values(field, dtype)  # type: ignore[assignment]
    return values


def _shape(reader: Reader, span: Span) -> list[int]:
    shape: list[int] = []
    for field in reader.fields(span):
        if field.number == 1 and field.kind in (VARINT, BYTES):
            shape += [field.value] if field.kind == VARINT else reader.varints(field.span)
        if len(shape) > MAX_SHAPE_DIMS:
            raise ModelFormatError(
                f"{reader.location}: a shape has more than {MAX_SHAPE_DIMS} dimensions"
            )
    return shape
