"""Aliases for arrays and paths."""

from __future__ import annotations

import os
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["AnyArray", "Float32Array", "StrPath", "UInt8Array"]

AnyArray: TypeAlias = npt.NDArray[Any]
Float32Array: TypeAlias = npt.NDArray[np.float32]
UInt8Array: TypeAlias = npt.NDArray[np.uint8]
StrPath: TypeAlias = "str | os.PathLike[str]"
