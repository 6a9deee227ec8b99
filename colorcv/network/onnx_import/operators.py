"""The operators that are read, and the converter of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .activations import ACTIVATIONS
from .call import Call, Result
from .constants import CONSTANTS
from .convolution import CONVOLUTION
from .elementwise import ELEMENTWISE
from .layout import LAYOUT
from .matrix import MATRIX
from .normalization import NORMALIZATION
from .padding import PADDING
from .resampling import RESAMPLING

__all__ = ["OPERATORS", "QUANTIZED"]

OPERATORS: Mapping[str, Callable[[Call], Result]] = {
    **ACTIVATIONS,
    **CONSTANTS,
    **CONVOLUTION,
    **ELEMENTWISE,
    **LAYOUT,
    **MATRIX,
    **NORMALIZATION,
    **PADDING,
    **RESAMPLING,
}
QUANTIZED = {
    *("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv"),
    *("QLinearMatMul", "ConvInteger", "MatMulInteger"),
}
