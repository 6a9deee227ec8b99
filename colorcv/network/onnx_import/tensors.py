"""Reader of the tensors of an ONNX file: initializers and attributes, as views into mapped files.

Field numbers are those of onnx.proto (Apache License 2.0, the ONNX project).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path, PureWindowsPath

import numpy as np
import numpy.typing as npt

from ..._typing import AnyArray
from ...errors import ModelFormatError
from ..files import map_file
from ..graph import Constant
from ..protobuf import BYTES, FIXED32, FIXED64, VARINT, Field, Reader, Span
from .varints import count_varints, decode_varints

__all__ = ["ELEMENT_TYPES", "LOADED_DTYPES", "ExternalFiles", "read_tensor"]

MAX_DIMS = 16
_MAX_SIDE = 1 << 31
_MAX_UNPACKED = 1024  # integers with a tag each, as old writers store short lists
_MAX_FILES = 64  # external files

_DIMS, _TYPE, _NAME, _EXTERNAL, _LOCATION = 1, 2, 8, 13, 14
_FLOATS, _INT32S, _INT64S, _RAW, _DOUBLES, _UINT64S = 4, 5, 7, 9, 10, 11
_FLOAT, _FLOAT16, _DOUBLE, _BFLOAT16 = 1, 10, 11, 16

ELEMENT_TYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    8: "string",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    16: "bfloat16",
}
_STORED: dict[int, str] = {
    1: "<f4",
    2: "u1",
    3: "i1",
    4: "<u2",
    5: "<i2",
    6: "<i4",
    7: "<i8",
    9: "u1",
    10: "<f2",
    11: "<f8",
    12: "<u4",
    13: "<u8",
    16: "<u2",
}
# Half precision is widened when it is loaded.
LOADED_DTYPES: dict[int, npt.DTypeLike] = {
    1: np.float32,
    2: np.uint8,
    3: np.int8,
    4: np.uint16,
    5: np.int16,
    6: np.int32,
    7: np.int64,
    9: np.bool_,
    10: np.float32,
    11: np.float64,
    12: np.uint32,
    13: np.uint64,
    16: np.float32,
}
# The field with the values, if they are not in raw_data.
_FIELDS = {
    **dict.fromkeys((2, 3, 4, 5, 6, 9, 10, 16), _INT32S),
    1: _FLOATS,
    7: _INT64S,
    11: _DOUBLES,
    12: _UINT64S,
    13: _UINT64S,
}


class ExternalFiles:
    """Opens the files beside an ONNX file in which it keeps its tensors.

    Parameters
    ----------
    model : Path
        The ONNX file. Nothing outside of its folder is opened.
    """

    def __init__(self, model: Path) -> None:
        self.model = model
        self._mapped: dict[str, tuple[Path, Reader]] = {}

    @property
    def total_bytes(self) -> int:
        """Bytes of the files that have been opened."""
        return sum(len(reader.data) for _, reader in self._mapped.values())

    def open(self, location: str) -> tuple[Path, Reader]:
        """Map a file, given its path relative to the model's folder."""
        if location not in self._mapped:
            if len(self._mapped) == _MAX_FILES:
                raise ModelFormatError(f"{self.model}: more than {_MAX_FILES} external files")
            path = self._resolve(location)
            reader = Reader(map_file(path, "external data", has_header=False), str(path))
            self._mapped[location] = path, reader
        return self._mapped[location]

    def _resolve(self, location: str) -> Path:
        parts = PureWindowsPath(location)  # splits at both kinds of slash
        if not location or parts.anchor or ".." in parts.parts or "\0" in location:
            raise ModelFormatError(
                f"{self.model}: external data must be beside the model, got {location!r}"
            )
        folder = Path(os.path.realpath(self.model.parent))
        path = Path(os.path.realpath(folder.joinpath(*parts.parts)))
        if not path.is_relative_to(folder):
            raise ModelFormatError(
                f"{self.model}: external data {location!r} is a link out of the model's folder; "
                "copy the file into it"
            )
        return path


def read_tensor(reader: Reader, span: Span, external: ExternalFiles) -> tuple[str, Constant]:
    """Read the name, shape and type of a tensor, and check the length of its values.

    The values stay in the file until they are loaded.
    """
    name, element_type, is_external = "", 0, False
    dims: list[int] = []
    entries: dict[str, str] = {}
    data: list[Field] = []
    for field in reader.fields(span):
        if field.number == _NAME and field.kind == BYTES:
            name = reader.text(field.span)
        elif field.number == _TYPE and field.kind == VARINT:
            element_type = field.value
        elif field.number == _DIMS and field.kind in (VARINT, BYTES):
            dims += [field.value] if field.kind == VARINT else reader.varints(field.span)
            if len(dims) > MAX_DIMS:
                raise ModelFormatError(
                    f"{reader.location}: a tensor has more than {MAX_DIMS} dimensions"
                )
        elif field.number == _LOCATION and field.kind == VARINT:
            is_external = field.value == 1
        elif field.number == _EXTERNAL and field.kind == BYTES:
            key, value = _entry(reader, field.span)
            entries[key] = value
        elif field.number in (_FLOATS, _INT32S, _INT64S, _RAW, _DOUBLES, _UINT64S):
            data.append(field)
            if len(data) > _MAX_UNPACKED:
                raise ModelFormatError(
                    f"{reader.location}: tensor {name!r}: its values are split into more than "
                    f"{_MAX_UNPACKED} parts"
                )
    location = f"{reader.location}: tensor {name!r}"
    if element_type not in _STORED:
        kind = ELEMENT_TYPES.get(element_type, f"type {element_type}")
        raise ModelFormatError(
            f"{location}: {kind} values are not supported; export the model with float weights, "
            "not quantised"
        )
    if any(not 0 <= dim < _MAX_SIDE for dim in dims) or math.prod(dims) >= 1 << 40:
        raise ModelFormatError(f"{location}: invalid shape {tuple(dims)}")
    shape = tuple(dims)
    if is_external:
        if data:
            raise ModelFormatError(f"{location}: its values are given twice")
        path, reader, field = _external_field(external, entries, shape, element_type, location)
        return name, _raw_constant(reader, field, element_type, shape, location, str(path))
    if not data and math.prod(shape) == 0:
        empty = np.zeros(shape, LOADED_DTYPES[element_type])
        return name, Constant(shape, lambda: empty, LOADED_DTYPES[element_type])
    if not data:
        raise ModelFormatError(f"{location}: it has no values")
    numbers = {field.number for field in data}
    if numbers == {_RAW} and len(data) == 1 and data[0].kind == BYTES:
        path_text = str(external.model)
        return name, _raw_constant(reader, data[0], element_type, shape, location, path_text)
    if numbers != {_FIELDS[element_type]}:
        raise ModelFormatError(
            f"{location}: its values are not stored as {ELEMENT_TYPES[element_type]}"
        )
    return name, _typed_constant(reader, data, element_type, shape, location)


def _entry(reader: Reader, span: Span) -> tuple[str, str]:
    texts = {1: "", 2: ""}
    for field in reader.fields(span):
        if field.number in texts and field.kind == BYTES:
            texts[field.number] = reader.text(field.span)
    return texts[1], texts[2]


def _external_field(
    external: ExternalFiles,
    entries: dict[str, str],
    shape: tuple[int, ...],
    element_type: int,
    location: str,
) -> tuple[Path, Reader, Field]:
    """Return the file of a tensor, its reader, and the range of its values as a field."""
    path, reader = external.open(entries.get("location", ""))
    size = math.prod(shape) * np.dtype(_STORED[element_type]).itemsize
    numbers = []
    for key, default in (("offset", 0), ("length", size)):
        text = entries.get(key, str(default))
        if not (text.isascii() and text.isdigit() and len(text) < 20):
            raise ModelFormatError(f"{location}: {key} of its external data is {text!r}")
        numbers.append(int(text))
    start, length = numbers
    if start + length > reader.whole.stop:
        raise ModelFormatError(
            f"{location}: its values should end at byte {start + length} of {path}, which has "
            f"{reader.whole.stop} bytes; copy the whole file"
        )
    return path, reader, Field(_RAW, BYTES, 0, Span(start, start + length))


def _raw_constant(
    reader: Reader,
    field: Field,
    element_type: int,
    shape: tuple[int, ...],
    location: str,
    path: str,
) -> Constant:
    stored = np.dtype(_STORED[element_type])
    size = math.prod(shape) * stored.itemsize
    found = field.span.stop - field.span.start
    if found != size:
        raise ModelFormatError(f"{location}: shape {shape} needs {size} bytes, got {found}")

    def load() -> AnyArray:
        return _widened(reader.values(field, stored), element_type)

    external = (path, field.span.start) if element_type == _FLOAT else None
    return Constant(shape, load, LOADED_DTYPES[element_type], external)


def _typed_constant(
    reader: Reader, data: list[Field], element_type: int, shape: tuple[int, ...], location: str
) -> Constant:
    """Return a constant whose values are in one of the typed fields."""
    number = _FIELDS[element_type]
    if number in (_FLOATS, _DOUBLES):
        stored = np.dtype(_STORED[element_type])
        if len(data) > 1 or data[0].kind not in (BYTES, FIXED32, FIXED64):
            raise ModelFormatError(f"{location}: its values are split into parts")
        width = {FIXED32: 4, FIXED64: 8}.get(data[0].kind, stored.itemsize)
        if width != stored.itemsize:
            raise ModelFormatError(f"{location}: unexpected wire type {data[0].kind} of its values")
        count = reader.values(data[0], stored).size
        load: Callable[[], AnyArray] = lambda: reader.values(data[0], stored)  # noqa: E731
    elif data[0].kind == VARINT:
        values = [field.value for field in data if field.kind == VARINT]
        count = len(values) if len(values) == len(data) else -1
        integers = np.array(values, np.uint64).view(np.int64)
        load = lambda: _typed(integers, element_type)  # noqa: E731
    else:
        if len(data) > 1 or data[0].kind != BYTES:
            raise ModelFormatError(f"{location}: its values are split into parts")
        count = count_varints(reader, data[0].span)
        load = lambda: _typed(  # noqa: E731
            decode_varints(reader, data[0].span, count, location), element_type
        )
    if count != math.prod(shape):
        raise ModelFormatError(f"{location}: shape {shape} does not match {count} values")
    return Constant(shape, load, LOADED_DTYPES[element_type])


def _typed(integers: npt.NDArray[np.int64], element_type: int) -> AnyArray:
    """Convert integers to the element type; halves are stored as their 16 bits."""
    if element_type == _FLOAT16:
        return integers.astype("<u2").view("<f2")
    return _widened(integers.astype(_STORED[element_type]), element_type)


def _widened(values: AnyArray, element_type: int) -> AnyArray:
    if element_type == 9:
        return np.asarray(values != 0)
    if element_type == _BFLOAT16:
        return (values.astype("<u4") << 16).view("<f4")
    return values
