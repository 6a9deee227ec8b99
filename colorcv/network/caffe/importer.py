"""A prototxt and its weights as one checked graph.

Everything that OpenCV is told has been checked here: what is wrong with the files comes out as a
`ModelFormatError` that names the layer, never as a crash in native code.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ...errors import ModelFormatError, OptionError
from ..graph import Constant, Graph, Node, Shape
from .caffemodel import Blob
from .layers import AB_LAYER, FLOAT_MAX, LAYERS, SCALE_LAYER
from .prototxt import Message

__all__ = ["Builder", "build"]

MAX_LAYERS = 1000
# Numbers in all the tensors of one run: what a file may ask for by itself (zhang2016 has 30
# million), and what a caller may by naming a larger input.
MAX_TENSORS, MAX_ASKED_TENSORS = 1 << 26, 1 << 30

_NAME = re.compile(r"[A-Za-z0-9_./-]{1,200}")


def build(
    net: Message,
    blobs: Mapping[str, Sequence[Blob]],
    centers: npt.NDArray[np.float32],
    *,
    weights_file: str,
    input_hw: tuple[int, int] | None = None,
    temperature: float | None = None,
) -> Graph:
    """Turn a parsed prototxt and the blobs of a caffemodel into a graph from lightness to ab.

    The 313 `centers`, (313, 2) float32, become the kernel of the last convolution, and 1/T
    (the value of the filler in the prototxt, or 1/`temperature`) the scale before the softmax.

    Raises
    ------
    ModelFormatError
        The files do not hold such a network.
    OptionError
        The network cannot run at `input_hw`.
    """
    return Builder(net, blobs, centers, weights_file, input_hw, temperature).build()


class Builder:
    """The graph so far, while the layers are turned into nodes in their order."""

    def __init__(
        self,
        net: Message,
        blobs: Mapping[str, Sequence[Blob]],
        centers: npt.NDArray[np.float32],
        weights_file: str,
        input_hw: tuple[int, int] | None,
        temperature: float | None,
    ) -> None:
        self.net = net
        self.blobs = blobs
        self.centers = centers
        self.weights_file = weights_file
        self.input_hw = input_hw
        self.temperature = temperature
        self.input: tuple[str, Shape] | None = None
        self.nodes: list[Node] = []
        self.constants: dict[str, Constant] = {}
        self.tops: dict[str, str] = {}  # Caffe's name of a tensor -> the graph's
        self.shapes: dict[str, Shape] = {}
        self.numbers = 0  # in all of them
        self.steps: dict[str, int] = {}  # input pixels to one pixel of the tensor, at most

    def build(self) -> Graph:
        layers = self.net.messages("layer")
        if not layers:
            raise ModelFormatError(
                f"{self.net.where}: V1 layers are not taken: convert the prototxt with Caffe's "
                "upgrade_net_proto_text"
                if self.net.messages("layers")
                else f"{self.net.where}: this prototxt has no layers"
            )
        if len(layers) > MAX_LAYERS:
            raise ModelFormatError(f"{self.net.where}: {len(layers)} layers, {MAX_LAYERS} go")
        for needed, holds in ((AB_LAYER, "the 313 centres"), (SCALE_LAYER, "the scale 1/T")):
            if not any(layer.fields.get("name") == [needed] for layer in layers):
                raise ModelFormatError(
                    f"{self.net.where}: the layer {needed!r}, which holds {holds}, is missing"
                )
        names: set[str] = set()
        for number, layer in enumerate(layers):
            layer.where = f"{self.net.where}: layer {number + 1}"
            name = layer.string("name")
            if not _NAME.fullmatch(name):
                raise ModelFormatError(
                    f"{layer.where}: the name {name[:40]!r} should be 1 to 200 letters, digits, "
                    "'_', '.', '/', '-'"
                )
            layer.where = f"{self.net.where}: layer {name!r}"
            if name in names:
                raise ModelFormatError(f"{layer.where} stands there twice")
            names.add(name)
            self._layer(layer, name)
        return self._finished()

    def _layer(self, layer: Message, name: str) -> None:
        kind = layer.string("type")
        if kind not in LAYERS:
            raise ModelFormatError(
                f"{layer.where}: its type {kind!r} is not known; known are {', '.join(LAYERS)}"
            )
        convert, parameters, bottoms, tops = LAYERS[kind]
        if (name == AB_LAYER and kind != "Convolution") or (
            name == SCALE_LAYER and kind != "Scale"
        ):
            raise ModelFormatError(f"{layer.where}: this layer cannot be of type {kind!r}")
        layer.only("name", "type", "bottom", "top", "param", "phase", "propagate_down", parameters)
        found = layer.strings("bottom")
        if not bottoms <= len(found) <= (8 if kind == "Eltwise" else bottoms):
            raise ModelFormatError(f"{layer.where}: {len(found)} bottoms, {kind} takes {bottoms}")
        if len(layer.strings("top")) != tops:
            raise ModelFormatError(f"{layer.where}: {len(layer.strings('top'))} tops, not {tops}")
        for bottom in found:
            if bottom not in self.tops:
                raise ModelFormatError(
                    f"{layer.where}: its bottom {bottom!r} is made by no layer before it"
                )
        for top in layer.strings("top"):
            if top in self.tops and top not in found:
                raise ModelFormatError(f"{layer.where}: its top {top!r} is made by another layer")
        inputs = [self.tops[bottom] for bottom in found]
        convert(self, layer, name, inputs, layer.message(parameters))
        for top in layer.strings("top"):
            self.tops[top] = name

    def _finished(self) -> Graph:
        if self.input is None or AB_LAYER not in self.shapes:
            raise ModelFormatError(f"{self.net.where}: {AB_LAYER!r} gives nothing")
        shape = self.shapes[AB_LAYER]
        if shape[:2] != (1, 2):
            raise ModelFormatError(
                f"{self.net.where}: layer {AB_LAYER!r} gives {shape}, not (1, 2, h, w)"
            )
        needed = {AB_LAYER}
        for node in reversed(self.nodes):
            if node.name in needed:
                needed.update(node.inputs)
        if self.input[0] not in needed:
            raise ModelFormatError(f"{self.net.where}: {AB_LAYER!r} does not hang on the input")
        nodes = tuple(node for node in self.nodes if node.name in needed)
        return Graph(self.input[0], self.input[1], AB_LAYER, nodes, self.constants)

    def add(
        self, op: str, name: str, inputs: Sequence[str], shape: Shape, **attributes: object
    ) -> str:
        self.nodes.append(Node(op, name, tuple(inputs), shape, attributes))  # type: ignore[arg-type]
        if len(self.nodes) > MAX_LAYERS:
            raise ModelFormatError(f"{self.net.where}: more than {MAX_LAYERS} operations")
        self.shapes[name] = shape
        self.numbers += math.prod(shape)
        self.steps.setdefault(name, max((self.steps.get(i, 1) for i in inputs), default=1))
        own = self.input_hw is None
        if self.numbers > (MAX_TENSORS if own else MAX_ASKED_TENSORS):
            self.refuse_size(f"{self.net.where}: layer {name!r}: too large a tensor: {shape}")
        return name

    def refuse_size(self, problem: str) -> None:
        if self.input_hw is None:
            raise ModelFormatError(problem)
        step = max(self.steps.values(), default=1)
        raise OptionError(
            f"the network cannot run at {self.input_hw[0]}x{self.input_hw[1]} ({problem}); "
            f"multiples of {step} go, up to the memory there is"
        )

    def blob(self, name: str, index: int, count: int, shape: Shape) -> Constant:
        """Return one of a layer's `count` blobs, checked for its shape and its numbers."""
        where = f"{self.weights_file}: layer {name!r}"
        found = self.blobs.get(name, ())
        if len(found) != count:
            raise ModelFormatError(f"{where}: {len(found)} blobs, {count} are needed")
        blob = found[index]
        given = tuple(dim for dim in blob.shape if dim != 1)
        same = blob.shape == shape or (
            # Old files write a vector as 1x1x1xC.
            len(shape) == 1 and given == tuple(dim for dim in shape if dim != 1)
        )
        if not same:
            raise ModelFormatError(f"{where}, blob {index}: shape {blob.shape}, not {shape}")
        with np.errstate(invalid="ignore"):
            least, most = float(blob.values.min()), float(blob.values.max())
        if not (least >= -FLOAT_MAX and most <= FLOAT_MAX):
            raise ModelFormatError(f"{where}, blob {index}: it holds NaN or infinite numbers")
        place = None if blob.offset is None else (self.weights_file, blob.offset)
        return Constant(shape, lambda: blob.values, place=place)

    def keep(self, name: str, value: Constant) -> str:
        self.constants[name] = value
        return name
