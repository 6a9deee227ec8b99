"""Type aliases: arrays, paths, devices, models, options."""

from __future__ import annotations

import os
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = [
    "AnyArray",
    "Device",
    "DeviceName",
    "Float32Array",
    "IgnoreBorder",
    "Memory",
    "MemoryForm",
    "ModelName",
    "Order",
    "SteeringMethod",
    "StrPath",
    "UInt8Array",
]

AnyArray: TypeAlias = npt.NDArray[Any]
Float32Array: TypeAlias = npt.NDArray[np.float32]
UInt8Array: TypeAlias = npt.NDArray[np.uint8]
IgnoreBorder: TypeAlias = Literal["auto"] | bool
Order: TypeAlias = Literal["bgr", "rgb"]
SteeringMethod: TypeAlias = Literal["auto", "model", "regression"]
StrPath: TypeAlias = str | os.PathLike[str]

DeviceName: TypeAlias = Literal["cpu", "cuda", "cuda-fp16", "opencl", "opencl-fp16"]
Device: TypeAlias = Literal["auto", DeviceName]  # a requested device
MemoryForm: TypeAlias = Literal["fast", "balanced", "low"]
Memory: TypeAlias = Literal["auto", MemoryForm]  # a requested form
# Signatures say ``ModelName | str``, so that editors complete the names while type checkers accept
# any string.
ModelName: TypeAlias = Literal["zhang2016", "lite"]
