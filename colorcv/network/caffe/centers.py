"""Reader of the centres of the 313 ab bins, a .npy file.

The header is parsed here and not by `numpy.load`, so that the file cannot name another dtype or a
larger shape, and nothing in it is evaluated or unpickled.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ..._typing import Float32Array
from ...errors import ModelFormatError
from ..files import read_small

__all__ = ["COUNT", "read"]

COUNT = 313

_MAX_BYTES = 1 << 16
_MAX_AB = 128
_HEADER = re.compile(
    r"\{'descr': '(<[if][48])', 'fortran_order': (True|False), 'shape': \((\d+), (\d+)\), \}\s*"
)


def read(path: Path) -> Float32Array:
    """Read the centres: (313, 2) float32, a and b.

    Raises
    ------
    ModelFormatError
        The file cannot be read, or does not hold 313 pairs of finite numbers in -128..128.
    """
    data = read_small(path, "centres file", _MAX_BYTES)
    if data[:6] != b"\x93NUMPY" or len(data) < 12:
        raise ModelFormatError(f"{path}: not a .npy file")
    start = 10 if data[6] == 1 else 12
    stop = start + int.from_bytes(data[8:start], "little")
    header = _HEADER.fullmatch(data[start:stop].decode("latin-1"))
    if header is None or stop > len(data):
        raise ModelFormatError(f"{path}: expected a .npy file with a table of numbers")
    descr, fortran, rows, columns = header.groups()
    if (rows, columns) != (str(COUNT), "2"):
        raise ModelFormatError(
            f"{path}: the centres must have shape ({COUNT}, 2), got ({rows}, {columns})"
        )
    dtype = np.dtype(descr)
    if len(data) - stop != COUNT * 2 * dtype.itemsize:
        raise ModelFormatError(
            f"{path}: truncated: expected {COUNT * 2 * dtype.itemsize} bytes of values, got "
            f"{len(data) - stop}"
        )
    numbers = np.frombuffer(data, dtype, offset=stop)
    with np.errstate(over="ignore", invalid="ignore"):
        values = numbers.astype(np.float32)
    if not (np.abs(values) <= _MAX_AB).all():
        raise ModelFormatError(
            f"{path}: the centres must be finite and between -{_MAX_AB} and {_MAX_AB}"
        )
    return values.reshape((COUNT, 2), order="F" if fortran == "True" else "C")
