"""Serialisation of a graph as ONNX, without the `onnx` package.

Field numbers are those of onnx.proto (Apache License 2.0, the ONNX project).
"""

from __future__ import annotations

import math
from typing import BinaryIO

import numpy as np

from .._typing import UInt8Array
from .graph import Attribute, Constant, Graph, Node, Shape
from .protobuf import BYTES, FIXED32, VARINT, encode_tag, encode_varint

__all__ = ["encode", "write"]

IR_VERSION, OPSET = 7, 13
OPSETS = {"LayerNormalization": 17, "Gelu": 20}  # those of operators that came later
MIN_EXTERNAL = 1 << 16  # bytes from which a constant may refer to the caffemodel
_FLOAT, _INT64 = 1, 7
_ATTRIBUTE_FLOAT, _ATTRIBUTE_INT, _ATTRIBUTE_STRING, _ATTRIBUTE_INTS = 1, 2, 3, 7
_EXTERNAL = 1

# Bytes of the file, or a constant that is loaded when its position is reached.
Part = bytes | Constant


def encode(graph: Graph, *, external: bool = False) -> UInt8Array:
    """Return a graph as ONNX in a (bytes,) uint8 array.

    It is an array because `readNetFromONNX` of OpenCV 4.14 and 5.0 crashes the process on `bytes`.

    Parameters
    ----------
    graph : Graph
    external : bool
        Refer to large constants that the caffemodel stores as float32, in place of copying them.
    """
    parts = _model(graph, external)
    buffer = np.empty(_length(parts), np.uint8)
    start = 0
    for part in parts:
        stop = start + _size(part)
        if isinstance(part, Constant):
            buffer[start:stop].view(_little_endian(part))[:] = part.array().reshape(-1)
            part.release()
        else:
            buffer[start:stop] = np.frombuffer(part, np.uint8)
        start = stop
    return buffer


def write(graph: Graph, file: BinaryIO) -> None:
    """Write a graph as ONNX to a file, with one constant in memory at a time."""
    for part in _model(graph, external=False):
        if isinstance(part, Constant):
            np.ascontiguousarray(part.array(), _little_endian(part)).tofile(file)
            part.release()
        else:
            file.write(part)


def _model(graph: Graph, external: bool) -> list[Part]:
    return [
        _integer(1, IR_VERSION),
        _text(2, "colorcv"),
        *_message(7, _graph(graph, external)),
        *_message(8, [_integer(2, _opset(graph))]),
    ]


def _opset(graph: Graph) -> int:
    return max(OPSETS.get(node.op, OPSET) for node in graph.nodes)


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
    for name, shape in graph.inputs.items():
        parts += _message(11, _value_info(name, shape))
    features = () if graph.features is None else (graph.features,)
    for name in (graph.output, *graph.more_outputs, *features):
        parts += _message(12, _value_info(name, graph.shape(name)))
    return parts


def _node(node: Node) -> list[Part]:
    parts: list[Part] = [_text(1, name) for name in node.inputs]
    parts += [_text(2, node.name), _text(3, node.name), _text(4, node.op)]
    for name, value in node.attributes.items():
        parts += _message(5, [_text(1, name), *_attribute(value)])
    return parts


def _attribute(value: Attribute) -> list[Part]:
    if isinstance(value, float):
        data = encode_tag(2, FIXED32) + np.float32(value).tobytes()
        return [data, _integer(20, _ATTRIBUTE_FLOAT)]
    if isinstance(value, int):
        return [_integer(3, value), _integer(20, _ATTRIBUTE_INT)]
    if isinstance(value, str):
        return [_text(4, value), _integer(20, _ATTRIBUTE_STRING)]
    return [*(_integer(8, item) for item in value), _integer(20, _ATTRIBUTE_INTS)]


def _tensor(name: str, constant: Constant, external: bool) -> list[Part]:
    data_type = _INT64 if np.dtype(constant.dtype) == np.int64 else _FLOAT
    header: list[Part] = [
        *(_integer(1, dim) for dim in constant.shape),
        _integer(2, data_type),
        _text(8, name),
    ]
    if external and constant.external is not None and _size(constant) >= MIN_EXTERNAL:
        path, offset = constant.external
        entries = {"location": path, "offset": str(offset), "length": str(_size(constant))}
        for key, value in entries.items():
            header += _message(13, [_text(1, key), _text(2, value)])
        return [*header, _integer(14, _EXTERNAL)]
    return [*header, encode_tag(9, BYTES) + encode_varint(_size(constant)), constant]


def _value_info(name: str, shape: Shape) -> list[Part]:
    dims: list[Part] = []
    for dim in shape:
        dims += _message(1, [_integer(1, dim)])
    tensor_type = [_integer(1, _FLOAT), *_message(2, dims)]
    return [_text(1, name), *_message(2, _message(1, tensor_type))]


def _message(number: int, parts: list[Part]) -> list[Part]:
    return [encode_tag(number, BYTES) + encode_varint(_length(parts)), *parts]


def _integer(number: int, value: int) -> bytes:
    return encode_tag(number, VARINT) + encode_varint(value)


def _text(number: int, text: str) -> bytes:
    data = text.encode()
    return encode_tag(number, BYTES) + encode_varint(len(data)) + data


def _size(part: Part) -> int:
    """Return the number of bytes of a part."""
    if isinstance(part, bytes):
        return len(part)
    return math.prod(part.shape) * np.dtype(part.dtype).itemsize


def _length(parts: list[Part]) -> int:
    return sum(map(_size, parts))
