"""Import of a Caffe network: prototxt and blobs to a checked graph.

Everything passed to OpenCV is checked here, so that a wrong file raises a `ModelFormatError` that
names the layer, and never crashes native code.
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
    centers: Float32Array | None,
    *,
    weights_file: str,
    input_hw: tuple[int, int] | None = None,
    temperature: float | None = None,
) -> Graph:
    """Build the graph from lightness (and hints) to ab out of a prototxt and a caffemodel's blobs.

    Parameters
    ----------
    net : Message
        The parsed prototxt.
    blobs : mapping
        The blobs of each layer of the caffemodel.
    centers : (313, 2) float32 or None
        Centres of the ab bins: the kernel of the last convolution. None for a network without
        bins, whose output is the top that no layer reads.
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
    for layer, name in _named_layers(net, centers is not None):
        _convert(context, layer, name, tensors)
    output = AB_LAYER if centers is not None else _last_top(net, tensors)
    return _finish(context, net.location, output)


def _named_layers(net: Message, has_centers: bool) -> Iterator[tuple[Message, str]]:
    """Check the list of layers, and yield each with its name, made unique."""
    layers = net.messages("layer")
    if not layers:
        raise ModelFormatError(
            f"{net.location}: V1 layers (Caffe before 2014) are not supported; convert the "
            "prototxt with Caffe's upgrade_net_proto_text"
            if net.messages("layers")
            else f"{net.location}: the prototxt has no layers"
        )
    if len(layers) > MAX_LAYERS:
        raise ModelFormatError(
            f"{net.location}: at most {MAX_LAYERS} layers are supported, got {len(layers)}"
        )
    for needed, holds in ((AB_LAYER, "the 313 centres"), (SCALE_LAYER, "the scale 1/T")):
        is_there = any(layer.fields.get("name") == [needed] for layer in layers)
        if has_centers and not is_there:
            raise ModelFormatError(
                f"{net.location}: layer {needed!r} is missing (it holds {holds}); leave out the "
                "centres if the network has none"
            )
        if is_there and not has_centers:
            raise ModelFormatError(
                f"{net.location}: layer {needed!r} holds {holds}; give the file of the centres"
            )
    names: set[str] = set()
    for number, layer in enumerate(layers, 1):
        layer.location = f"{net.location}: layer {number}"
        name = layer.string("name")
        if not _NAME.fullmatch(name):
            raise ModelFormatError(
                f"{layer.location}: a name must be 1 to 200 letters, digits, '_', '.', '/' or "
                f"'-', got {name[:40]!r}"
            )
        layer.location = f"{net.location}: layer {name!r}"
        if name in names:
            # Weights are found by name, so a layer that has them must be the first of its name.
            kind = layer.string("type")
            if kind not in LAYERS or LAYERS[kind].has_blobs:
                raise ModelFormatError(f"{layer.location}: its name is used twice")
            name = f"{name}:layer{number}"
        names.add(name)
        yield layer, name


def _convert(context: ImportContext, layer: Message, name: str, tensors: dict[str, str]) -> None:
    """Check a layer's type and tensors, and convert it to nodes."""
    kind = layer.string("type")
    if kind not in LAYERS:
        raise ModelFormatError(
            f"{layer.location}: layer type {kind!r} is not supported; supported are "
            f"{', '.join(LAYERS)}"
        )
    layer_type = LAYERS[kind]
    required = {AB_LAYER: "Convolution", SCALE_LAYER: "Scale"}.get(name, kind)
    if kind != required:
        raise ModelFormatError(f"{layer.location}: its type must be {required}, got {kind}")
    layer.allow_fields(*_COMMON_FIELDS, layer_type.params)
    bottoms, tops = layer.strings("bottom"), layer.strings("top")
    max_bottoms = _MAX_ELTWISE_INPUTS if kind == "Eltwise" else layer_type.bottoms
    if not layer_type.bottoms <= len(bottoms) <= max_bottoms:
        raise ModelFormatError(
            f"{layer.location}: expected {layer_type.bottoms} bottoms for {kind}, got "
            f"{len(bottoms)}"
        )
    is_slice = kind == "Slice"
    if len(tops) < layer_type.tops or (len(tops) > layer_type.tops and not is_slice):
        raise ModelFormatError(
            f"{layer.location}: expected {layer_type.tops} tops, got {len(tops)}"
        )
    for bottom in bottoms:
        if bottom not in tensors:
            raise ModelFormatError(
                f"{layer.location}: its bottom {bottom!r} is not a top of an earlier layer"
            )
    for top in tops:
        if top in tensors and top not in bottoms:
            raise ModelFormatError(
                f"{layer.location}: its top {top!r} is already a top of another layer"
            )
    inputs = tuple(tensors[bottom] for bottom in bottoms)
    context.prefix = name
    layer_type.convert(context, LayerSpec(layer, name, inputs, layer.message(layer_type.params)))
    for index, top in enumerate(tops):
        tensors[top] = f"{name}:{index}" if is_slice else name


def _last_top(net: Message, tensors: dict[str, str]) -> str:
    """Return the graph's name of the only top that no layer reads."""
    layers = net.messages("layer")
    read = {bottom for layer in layers for bottom in layer.strings("bottom")}
    # A layer in place reads and writes one tensor, which no later layer may read.
    in_place = set(layers[-1].strings("top")) & set(layers[-1].strings("bottom"))
    unread = [top for top in tensors if top not in read or top in in_place]
    if len(unread) != 1:
        raise ModelFormatError(
            f"{net.location}: expected one output, got {len(unread)}: {', '.join(unread[:8])}"
        )
    return tensors[unread[0]]


def _finish(context: ImportContext, location: str, output: str) -> Graph:
    """Check the output, and return the graph without the nodes that do not lead to it."""
    if context.input is None or output not in context.shapes:
        raise ModelFormatError(f"{location}: layer {output!r} has no output")
    shape = context.shapes[output]
    if len(shape) != 4 or shape[:2] != (1, 2):
        raise ModelFormatError(
            f"{location}: layer {output!r} must have output shape (1, 2, h, w), got {shape}"
        )
    needed = {output}
    for node in reversed(context.nodes):
        if node.name in needed:
            needed.update(node.inputs)
    if context.input[0] not in needed:
        raise ModelFormatError(f"{location}: layer {output!r} does not depend on the input")
    nodes = tuple(node for node in context.nodes if node.name in needed)
    return Graph(context.input[0], context.input[1], output, nodes, context.constants)
