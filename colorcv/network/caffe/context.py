"""State of an import, given to the layer converters: the graph so far, blobs, shapes, limits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from ..._typing import Float32Array
from ...errors import ModelFormatError, OptionError
from ..files import release_pages
from ..graph import Attribute, Constant, GraphBuilder, Shape
from .caffemodel import Blob
from .prototxt import Message

__all__ = ["FLOAT_MAX", "MAX_LAYERS", "ImportContext", "LayerSpec"]

MAX_LAYERS = 1000
# Limits on the elements of all tensors of one run (zhang2016 has 30 million, siggraph17 at 256x256
# has 135): with the input size from the prototxt, and with one that the caller gives.
MAX_ELEMENTS, MAX_REQUESTED_ELEMENTS = 1 << 28, 1 << 30
FLOAT_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class LayerSpec:
    """One layer of the prototxt.

    Attributes
    ----------
    layer : Message
        The layer itself.
    name : str
    inputs : tuple of str
        Names, in the graph, of the tensors that it reads.
    params : Message
        Its parameters, such as `convolution_param`; empty if it has none.
    """

    layer: Message
    name: str
    inputs: tuple[str, ...]
    params: Message


class ImportContext(GraphBuilder):
    """A graph builder that knows the model's blobs and limits the size of the graph.

    Parameters
    ----------
    blobs : mapping
        The blobs of each layer of the caffemodel.
    centers : (313, 2) float32 or None
        None for a network without the layers of the centres.
    weights_file : str
        Path of the caffemodel, for error messages and external constants.
    location : str
        Path of the prototxt, for error messages.
    input_hw : (int, int), optional
        Rows and columns of the input, in place of the prototxt's.
    temperature : float, optional
        T of the annealed mean, in place of the prototxt's 1/T.

    Attributes
    ----------
    input : (str, tuple of int) or None
        Name and shape of the input, once its layer is converted.
    shapes : dict of tuple of int
        Shape of each tensor.
    element_count : int
        Elements of all tensors so far.
    strides : dict of int
        Largest stride of each tensor, in pixels of the input.
    """

    def __init__(
        self,
        blobs: Mapping[str, Sequence[Blob]],
        centers: Float32Array | None,
        *,
        weights_file: str,
        location: str,
        input_hw: tuple[int, int] | None = None,
        temperature: float | None = None,
    ) -> None:
        super().__init__()
        self.centers = centers
        self.input_hw = input_hw
        self.temperature = temperature
        self.input: tuple[str, Shape] | None = None
        self.shapes: dict[str, Shape] = {}
        self.element_count = 0
        self.strides: dict[str, int] = {}
        self._blobs = blobs
        self._weights_file = weights_file
        self._location = location

    def add_input(self, name: str, shape: Shape) -> None:
        """Set the graph's input."""
        self.input = (name, shape)
        self.shapes[name] = shape
        self.element_count += math.prod(shape)
        self.strides[name] = 1

    def add_node(
        self, op: str, suffix: str, inputs: Sequence[str], shape: Shape, **attributes: Attribute
    ) -> str:
        """Append a node, within the limits, and return the name of its output.

        Raises
        ------
        ModelFormatError, OptionError
            The graph or its tensors become too large.
        """
        name = super().add_node(op, suffix, inputs, shape, **attributes)
        if len(self.nodes) > MAX_LAYERS:
            raise ModelFormatError(
                f"{self._location}: the network has more than {MAX_LAYERS} operations"
            )
        self.shapes[name] = shape
        self.element_count += math.prod(shape)
        self.strides.setdefault(name, max((self.strides.get(i, 1) for i in inputs), default=1))
        limit = MAX_ELEMENTS if self.input_hw is None else MAX_REQUESTED_ELEMENTS
        if self.element_count > limit:
            self.reject_size(f"{self._location}: layer {name!r}: the tensor {shape} is too large")
        return name

    def reject_size(self, problem: str) -> NoReturn:
        """Raise an OptionError if the caller gave the input size, else a ModelFormatError."""
        if self.input_hw is None:
            raise ModelFormatError(problem)
        stride = max(self.strides.values(), default=1)
        raise OptionError(
            f"the network cannot run at {self.input_hw[0]}x{self.input_hw[1]} ({problem}); use "
            f"multiples of {stride} that fit into memory"
        )

    def has_blobs(self, layer_name: str) -> bool:
        """Return True if the caffemodel has blobs for a layer."""
        return bool(self._blobs.get(layer_name))

    def blob(self, layer_name: str, index: int, count: int, shape: Shape) -> Constant:
        """Return one of a layer's `count` blobs, with its shape and values checked."""
        location = f"{self._weights_file}: layer {layer_name!r}"
        found = self._blobs.get(layer_name, ())
        if len(found) != count:
            raise ModelFormatError(f"{location}: expected {count} blobs, got {len(found)}")
        blob = found[index]
        # Old files write a vector as 1x1x1xC.
        is_same = blob.shape == shape or (
            len(shape) == 1 and _without_ones(blob.shape) == _without_ones(shape)
        )
        if not is_same:
            raise ModelFormatError(
                f"{location}, blob {index}: expected shape {shape}, got {blob.shape}"
            )
        with np.errstate(invalid="ignore"):
            low, high = float(blob.values.min()), float(blob.values.max())
        if not (low >= -FLOAT_MAX and high <= FLOAT_MAX):
            raise ModelFormatError(f"{location}, blob {index}: it has NaN or infinite values")
        external = None if blob.offset is None else (self._weights_file, blob.offset)
        weights = Constant(
            shape,
            lambda: blob.values,
            external=external,
            release=lambda: release_pages(blob.values),
        )
        weights.release()
        return weights


def _without_ones(shape: Shape) -> Shape:
    return tuple(dim for dim in shape if dim != 1)
