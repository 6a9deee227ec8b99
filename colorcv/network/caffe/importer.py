"""Import of a Caffe network: prototxt and blobs to a checked graph.

Everything that is passed to OpenCV is checked here, so that a wrong file is a `ModelFormatError`
that names the layer, and never a crash in native code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from ..._typing import Float32Array
from ...errors import ModelFormatError
from ..graph import Graph
from .caffemodel import Blob
from .context import MAX_LAYERS, ImportContext, LayerSpec
from .layers import AB_LAYER, LAYERS, SCALE_LAYER
from .prototxt import Message

__all__ = ["build"]

_NAME = re.compile(r"[A-Za-z0-9_./-]{1,200}")
_COMMON_FIELDS = ("name", "type", "bottom", "top", "param", "phase", "propagate_down")
_MAX_ELTWISE_INPUTS = 8


def build(
    net: Message,
    blobs: Mapping[str, Sequence[Blob]],
    centers: Float32Array,
    *,
    weights_file: str,
    input_hw: tuple[int, int] | None = None,
    temperature: float | None = None,
) -> Graph:
    """Build the graph from lightness to ab out of a parsed prototxt and a caffemodel's blobs.

    Parameters
    ----------
    net : Message
        The parsed prototxt.
    blobs : mapping
        The blobs of each layer of the caffemodel.
    centers : (313, 2) float32
        Centres of the ab bins: the kernel of the last convolution.
    weights_file : str
        Path of the caffemodel.
    input_hw : (int, int), optional
        Rows and columns of the input, in place of the prototxt's.
    temperature : float, optional
        T of the annealed mean, in place of the prototxt's 1/T (the scale before the softmax).

    Raises
    ------
    ModelFormatError
        The files do not hold such a network.
    OptionError
        The network cannot run at `input_hw`.
    """
    context = ImportContext(
        blobs,
        centers,
        weights_file=weights_file,
        location=net.location,
        input_hw=input_hw,
        temperature=temperature,
    )
    tensors: dict[str, str] = {}  # Caffe's name of a tensor -> the graph's
    for layer, name in _named_layers(net):
        _convert(context, layer, name, tensors)
    return _finish(context, net.location)


def _named_layers(net: Message) -> Iterator[tuple[Message, str]]:
    """Check the list of layers, and yield each with its name."""
    layers = net.messages("layer")
    if not layers:
        raise ModelFormatError(
            f"{net.location}: V1 layers are not taken: convert the prototxt with Caffe's "
            "upgrade_net_proto_text"
            if net.messages("layers")
            else f"{net.location}: this prototxt has no layers"
        )
    if len(layers) > MAX_LAYERS:
        raise ModelFormatError(f"{net.location}: {len(layers)} layers, {MAX_LAYERS} go")
    for needed, holds in ((AB_LAYER, "the 313 centres"), (SCALE_LAYER, "the scale 1/T")):
        if not any(layer.fields.get("name") == [needed] for layer in layers):
            raise ModelFormatError(
                f"{net.location}: the layer {needed!r}, which holds {holds}, is missing"
            )
    names: set[str] = set()
    for number, layer in enumerate(layers, 1):
        layer.location = f"{net.location}: layer {number}"
        name = layer.string("name")
        if not _NAME.fullmatch(name):
            raise ModelFormatError(
                f"{layer.location}: the name {name[:40]!r} should be 1 to 200 letters, digits, "
                "'_', '.', '/', '-'"
            )
        layer.location = f"{net.location}: layer {name!r}"
        if name in names:
            raise ModelFormatError(f"{layer.location} stands there twice")
        names.add(name)
        yield layer, name


def _convert(context: ImportContext, layer: Message, name: str, tensors: dict[str, str]) -> None:
    """Check a layer's type and tensors, and convert it to nodes."""
    kind = layer.string("type")
    if kind not in LAYERS:
        raise ModelFormatError(
            f"{layer.location}: its type {kind!r} is not known; known are {', '.join(LAYERS)}"
        )
    layer_type = LAYERS[kind]
    if (name == AB_LAYER and kind != "Convolution") or (name == SCALE_LAYER and kind != "Scale"):
        raise ModelFormatError(f"{layer.location}: this layer cannot be of type {kind!r}")
    layer.allow_fields(*_COMMON_FIELDS, layer_type.params)
    bottoms, tops = layer.strings("bottom"), layer.strings("top")
    max_bottoms = _MAX_ELTWISE_INPUTS if kind == "Eltwise" else layer_type.bottoms
    if not layer_type.bottoms <= len(bottoms) <= max_bottoms:
        raise ModelFormatError(
            f"{layer.location}: {len(bottoms)} bottoms, {kind} takes {layer_type.bottoms}"
        )
    if len(tops) != layer_type.tops:
        raise ModelFormatError(f"{layer.location}: {len(tops)} tops, not {layer_type.tops}")
    for bottom in bottoms:
        if bottom not in tensors:
            raise ModelFormatError(
                f"{layer.location}: its bottom {bottom!r} is made by no layer before it"
            )
    for top in tops:
        if top in tensors and top not in bottoms:
            raise ModelFormatError(f"{layer.location}: its top {top!r} is made by another layer")
    inputs = tuple(tensors[bottom] for bottom in bottoms)
    context.prefix = name
    layer_type.convert(context, LayerSpec(layer, name, inputs, layer.message(layer_type.params)))
    for top in tops:
        tensors[top] = name


def _finish(context: ImportContext, location: str) -> Graph:
    """Check the output, and return the graph without the nodes that do not lead to it."""
    if context.input is None or AB_LAYER not in context.shapes:
        raise ModelFormatError(f"{location}: {AB_LAYER!r} gives nothing")
    shape = context.shapes[AB_LAYER]
    if shape[:2] != (1, 2):
        raise ModelFormatError(f"{location}: layer {AB_LAYER!r} gives {shape}, not (1, 2, h, w)")
    needed = {AB_LAYER}
    for node in reversed(context.nodes):
        if node.name in needed:
            needed.update(node.inputs)
    if context.input[0] not in needed:
        raise ModelFormatError(f"{location}: {AB_LAYER!r} does not hang on the input")
    nodes = tuple(node for node in context.nodes if node.name in needed)
    return Graph(context.input[0], context.input[1], AB_LAYER, nodes, context.constants)
