"""Reader of ONNX files: nodes, initializers, inputs and outputs, without their values.

Field numbers are those of onnx.proto (Apache License 2.0, the ONNX project).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ...errors import ModelFormatError
from ..files import map_file
from ..graph import Constant
from ..protobuf import BYTES, FIXED32, VARINT, Field, Reader, Span
from .tensors import ELEMENT_TYPES, MAX_DIMS, ExternalFiles, read_tensor

__all__ = [
    "Model",
    "NodeSpec",
    "OnnxSignature",
    "TensorInfo",
    "read",
    "read_signature",
]

MAX_FIELDS = 400_000  # per file; networks of 2,000 nodes have a tenth of that
MAX_NODES = 20_000
MAX_TENSORS = 20_000
MAX_INTEGERS = 4096  # of one attribute
MAX_PORTS = 1024  # inputs or outputs of one node

AttributeValue = int | float | str | tuple[int, ...] | tuple[float, ...] | Constant | None


class TensorInfo(NamedTuple):
    """An input or output as the file declares it.

    Attributes
    ----------
    shape : tuple of (int or None), or None
        None for a side that the file leaves open; None in place of the tuple if it states no shape.
    element_type : str
        "float32", "float16", "int64" and so on.
    """

    shape: tuple[int | None, ...] | None
    element_type: str


@dataclass(frozen=True)
class OnnxSignature:
    """What an ONNX file says about itself, read without its weights.

    Attributes
    ----------
    inputs, outputs : mapping of str to TensorInfo
        In the order of the file; initializers that are listed as inputs too are left out.
    opset : int
    producer : str
        Name and version of the program that wrote the file.
    """

    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]
    opset: int
    producer: str


@dataclass(frozen=True)
class NodeSpec:
    """One node of the file; an attribute that holds a subgraph has the value None."""

    op: str
    name: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, AttributeValue]


@dataclass(frozen=True)
class Model:
    """The content of an ONNX file."""

    signature: OnnxSignature
    nodes: tuple[NodeSpec, ...]
    initializers: Mapping[str, Constant]
    size: int  # bytes of the file and of its external files


def read_signature(path: Path) -> OnnxSignature:
    """Read the inputs, outputs, opset and producer of an ONNX file, without its weights.

    Raises
    ------
    ModelFormatError
        The file cannot be read, is truncated or is not ONNX.
    """
    reader = Reader(map_file(path, "ONNX model"), str(path), max_fields=MAX_FIELDS)
    graph, opset, producer = _header(reader)
    names = set()
    ports: dict[int, list[Field]] = {11: [], 12: []}
    for field in reader.fields(graph):
        if field.kind != BYTES:
            continue
        if field.number == 5:
            names.add(_tensor_name(reader, field.span))
        elif field.number in ports:
            ports[field.number].append(field)
    return _signature(reader, ports, names, opset, producer)


def read(path: Path) -> Model:
    """Read an ONNX file; the values of its tensors stay in the mapped file.

    Raises
    ------
    ModelFormatError
        The file cannot be read, is truncated, is not ONNX, or holds more than a network of
        `MAX_NODES` nodes.
    """
    reader = Reader(map_file(path, "ONNX model"), str(path), max_fields=MAX_FIELDS)
    external = ExternalFiles(path)
    graph, opset, producer = _header(reader)
    nodes: list[NodeSpec] = []
    initializers: dict[str, Constant] = {}
    ports: dict[int, list[Field]] = {11: [], 12: []}
    for field in reader.fields(graph):
        if field.kind != BYTES:
            continue
        if field.number == 1:
            nodes.append(_node(reader, field.span, external))
            if len(nodes) > MAX_NODES:
                raise ModelFormatError(f"{path}: more than {MAX_NODES} nodes")
        elif field.number == 5:
            name, constant = read_tensor(reader, field.span, external)
            if name in initializers:
                raise ModelFormatError(f"{path}: tensor {name!r} occurs twice")
            initializers[name] = constant
            if len(initializers) > MAX_TENSORS:
                raise ModelFormatError(f"{path}: more than {MAX_TENSORS} tensors")
        elif field.number == 15:
            raise ModelFormatError(f"{path}: sparse tensors are not supported")
        elif field.number in ports:
            ports[field.number].append(field)
    signature = _signature(reader, ports, set(initializers), opset, producer)
    return Model(signature, tuple(nodes), initializers, external.total_bytes + len(reader.data))


def _header(reader: Reader) -> tuple[Span, int, str]:
    """Return the range of the graph, the opset, and the producer."""
    graph: Span | None = None
    opset = 0
    producer = ["", ""]
    for field in reader.fields(reader.whole):
        if field.kind != BYTES:
            continue
        if field.number == 7:
            graph = field.span
        elif field.number == 8:
            domain, version = _opset(reader, field.span)
            if domain in ("", "ai.onnx"):
                opset = version
        elif field.number in (2, 3):
            producer[field.number - 2] = reader.text(field.span)
    if graph is None or not opset:
        raise ModelFormatError(f"{reader.location}: not an ONNX model: it has no graph or opset")
    return graph, opset, " ".join(producer).strip()


def _opset(reader: Reader, span: Span) -> tuple[str, int]:
    domain, version = "", 0
    for field in reader.fields(span):
        if field.number == 1 and field.kind == BYTES:
            domain = reader.text(field.span)
        elif field.number == 2 and field.kind == VARINT:
            version = field.value
    return domain, version


def _tensor_name(reader: Reader, span: Span) -> str:
    for field in reader.fields(span):
        if field.number == 8 and field.kind == BYTES:
            return reader.text(field.span)
    return ""


def _signature(
    reader: Reader, ports: dict[int, list[Field]], constants: set[str], opset: int, producer: str
) -> OnnxSignature:
    infos: list[dict[str, TensorInfo]] = []
    for fields in ports.values():
        if len(fields) > MAX_TENSORS:
            raise ModelFormatError(f"{reader.location}: more than {MAX_TENSORS} inputs or outputs")
        found = dict(_value_info(reader, field.span) for field in fields)
        infos.append({name: info for name, info in found.items() if name not in constants})
    return OnnxSignature(infos[0], infos[1], opset, producer)


def _value_info(reader: Reader, span: Span) -> tuple[str, TensorInfo]:
    name, element_type = "", 0
    shape: tuple[int | None, ...] | None = None
    for field in reader.fields(span):
        if field.number == 1 and field.kind == BYTES:
            name = reader.text(field.span)
        elif field.number == 2 and field.kind == BYTES:
            for kind in reader.fields(field.span):
                if kind.number == 1 and kind.kind == BYTES:
                    element_type, shape = _tensor_type(reader, kind.span)
    return name, TensorInfo(shape, ELEMENT_TYPES.get(element_type, f"type {element_type}"))


def _tensor_type(reader: Reader, span: Span) -> tuple[int, tuple[int | None, ...] | None]:
    element_type = 0
    shape: tuple[int | None, ...] | None = None
    for field in reader.fields(span):
        if field.number == 1 and field.kind == VARINT:
            element_type = field.value
        elif field.number == 2 and field.kind == BYTES:
            dims = [
                _dim(reader, dim.span)
                for dim in reader.fields(field.span)
                if (dim.number, dim.kind) == (1, BYTES)
            ]
            if len(dims) > MAX_DIMS:
                raise ModelFormatError(
                    f"{reader.location}: an input has more than {MAX_DIMS} dimensions"
                )
            shape = tuple(dims)
    return element_type, shape


def _dim(reader: Reader, span: Span) -> int | None:
    for field in reader.fields(span):
        if field.number == 1 and field.kind == VARINT and 0 < field.value < 1 << 31:
            return field.value
    return None


def _node(reader: Reader, span: Span, external: ExternalFiles) -> NodeSpec:
    texts = {3: "", 4: "", 7: ""}  # name, op type, domain
    ports: dict[int, list[str]] = {1: [], 2: []}
    attributes: dict[str, AttributeValue] = {}
    for field in reader.fields(span):
        if field.kind != BYTES:
            continue
        if field.number in texts:
            texts[field.number] = reader.text(field.span)
        elif field.number in ports:
            ports[field.number].append(reader.text(field.span))
            if len(ports[field.number]) > MAX_PORTS:
                raise ModelFormatError(
                    f"{reader.location}: node {texts[3]!r} has more than {MAX_PORTS} inputs"
                )
        elif field.number == 5:
            name, value = _attribute(reader, field.span, external)
            attributes[name] = value
    name = texts[3] or next(iter(ports[2]), "")
    return NodeSpec(texts[4], name, texts[7], tuple(ports[1]), tuple(ports[2]), attributes)


def _attribute(reader: Reader, span: Span, external: ExternalFiles) -> tuple[str, AttributeValue]:
    """Return the name and value of an attribute; None for one that is not supported."""
    name, kind = "", 0
    found: dict[int, AttributeValue] = {}
    integers: list[int] = []
    for field in reader.fields(span):
        if field.number == 1 and field.kind == BYTES:
            name = reader.text(field.span)
        elif field.number == 20 and field.kind == VARINT:
            kind = field.value
        elif field.number == 2 and field.kind == FIXED32:
            found[1] = float(reader.values(field, "<f4")[-1])
        elif field.number == 3 and field.kind == VARINT:
            found[2] = _signed(field.value)
        elif field.number == 4 and field.kind == BYTES:
            found[3] = reader.text(field.span)
        elif field.number == 5 and field.kind == BYTES:
            found[4] = read_tensor(reader, field.span, external)[1]
        elif field.number == 7 and field.kind in (BYTES, FIXED32):
            found[6] = tuple(map(float, reader.values(field, "<f4")[:MAX_INTEGERS]))
        elif field.number == 8 and field.kind in (VARINT, BYTES):
            values = [field.value] if field.kind == VARINT else reader.varints(field.span)
            integers += map(_signed, values)
            if len(integers) > MAX_INTEGERS:
                raise ModelFormatError(
                    f"{reader.location}: attribute {name!r} has more than {MAX_INTEGERS} values"
                )
    if integers or kind == 7:
        found[7] = tuple(integers)
    if kind == 6:
        found.setdefault(6, ())
    defaults: dict[int, AttributeValue] = {1: 0.0, 2: 0, 3: ""}
    if kind:
        return name, found.get(kind, defaults.get(kind))
    return name, next(iter(found.values()), None)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value
