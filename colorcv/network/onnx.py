"""A graph as ONNX bytes, written once, into one buffer.

Field numbers are those of onnx.proto (Apache License 2.0, the ONNX project).
"""

from __future__ import annotations

import math
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from .graph import Attribute, Constant, Graph, Node, Shape
from .protobuf import BYTES, FIXED32, VARINT, key, varint

__all__ = ["encode", "write"]

IR_VERSION, OPSET = 7, 13
# Constants of fewer bytes are written out even where they could be pointed to.
LARGE = 1 << 16
_FLOAT, _INT64 = 1, 7
_ATTRIBUTE_FLOAT, _ATTRIBUTE_INT, _ATTRIBUTE_STRING, _ATTRIBUTE_INTS = 1, 2, 3, 7
_EXTERNAL = 1

# What is written: bytes, or a constant whose numbers are made when their place is reached.
Part = bytes | Constant


def encode(graph: Graph, *, external: bool = False) -> npt.NDArray[np.uint8]:
    """Return the graph as ONNX in a (bytes,) uint8 array.

    An array and not `bytes`, because OpenCV 5.0's readNetFromONNX crashes the process on `bytes`.
    With `external`, large constants that stand in a file as they are stay there and are pointed to.
    """
    parts = _model(graph, external)
    buffer = np.empty(_length(parts), np.uint8)
    position = 0
    for part in parts:
        stop = position + _size(part)
        if isinstance(part, Constant):
            buffer[position:stop].view(_little_endian(part))[:] = part.array().reshape(-1)
        else:
            buffer[position:stop] = np.frombuffer(part, np.uint8)
        position = stop
    return buffer


def write(graph: Graph, file: BinaryIO) -> None:
    """Write the graph as ONNX to a file, one constant in memory at a time."""
    for part in _model(graph, external=False):
        if isinstance(part, Constant):
            np.ascontiguousarray(part.array(), _little_endian(part)).tofile(file)
        else:
            file.write(part)


def _model(graph: Graph, external: bool) -> list[Part]:
    return [
        _number(1, IR_VERSION),
        _text(2, "colorcv"),
        *_message(7, _graph(graph, external)),
        *_message(8, [_number(2, OPSET)]),
    ]


def _little_endian(constant: Constant) -> np.dtype[np.generic]:
    dtype: np.dtype[np.generic] = np.dtype(constant.dtype).newbyteorder("<")
    return dtype


def _graph(graph: Graph, external: bool) -> list[Part]:
    parts: list[Part] = []
    for node in graph.nodes:
        parts += _message(1, _node(node))
    parts.append(_text(2, "colorcv"))
    for name, constant in graph.used_constants():
        parts += _message(5, _tensor(name, constant, external))
    parts += _message(11, _value_info(graph.input, graph.input_shape))
    parts += _message(12, _value_info(graph.output, graph.output_shape))
    return parts


def _node(node: Node) -> list[Part]:
    parts: list[Part] = [_text(1, name) for name in node.inputs]
    parts += [_text(2, node.name), _text(3, node.name), _text(4, node.op)]
    for name, value in node.attributes.items():
        parts += _message(5, [_text(1, name), *_attribute(value)])
    return parts


def _attribute(value: Attribute) -> list[Part]:
    if isinstance(value, float):
        return [key(2, FIXED32) + np.float32(value).tobytes(), _number(20, _ATTRIBUTE_FLOAT)]
    if isinstance(value, int):
        return [_number(3, value), _number(20, _ATTRIBUTE_INT)]
    if isinstance(value, str):
        return [_text(4, value), _number(20, _ATTRIBUTE_STRING)]
    return [*(_number(8, item) for item in value), _number(20, _ATTRIBUTE_INTS)]


def _tensor(name: str, constant: Constant, external: bool) -> list[Part]:
    kind = _INT64 if np.dtype(constant.dtype) == np.int64 else _FLOAT
    header: list[Part] = [
        *(_number(1, dim) for dim in constant.shape),
        _number(2, kind),
        _text(8, name),
    ]
    if external and constant.place is not None and _size(constant) >= LARGE:
        path, offset = constant.place
        entries = {"location": path, "offset": str(offset), "length": str(_size(constant))}
        for entry, value in entries.items():
            header += _message(13, [_text(1, entry), _text(2, value)])
        return [*header, _number(14, _EXTERNAL)]
    return [*header, key(9, BYTES) + varint(_size(constant)), constant]


def _value_info(name: str, shape: Shape) -> list[Part]:
    dims: list[Part] = []
    for dim in shape:
        dims += _message(1, [_number(1, dim)])
    tensor_type = [_number(1, _FLOAT), *_message(2, dims)]
    return [_text(1, name), *_message(2, _message(1, tensor_type))]


def _message(number: int, parts: list[Part]) -> list[Part]:
    return [key(number, BYTES) + varint(_length(parts)), *parts]


def _number(number: int, value: int) -> bytes:
    return key(number, VARINT) + varint(value)


def _text(number: int, text: str) -> bytes:
    data = text.encode()
    return key(number, BYTES) + varint(len(data)) + data


def _size(part: Part) -> int:
    if isinstance(part, bytes):
        return len(part)
    return math.prod(part.shape) * np.dtype(part.dtype).itemsize


def _length(parts: list[Part]) -> int:
    return sum(map(_size, parts))
