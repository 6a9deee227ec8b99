"""Converters of the Caffe layers that colorization networks use.

Each checks one layer and adds its nodes. Settings that some OpenCV version computes wrongly or
crashes on are rejected here.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ...errors import ModelFormatError
from ..graph import Constant, constant
from .context import FLOAT_MAX, ImportContext, LayerSpec
from .convolution import AB_LAYER, convolution
from .prototxt import Message

__all__ = ["AB_LAYER", "LAYERS", "SCALE_LAYER"]

SCALE_LAYER = "conv8_313_rh"

MAX_INPUT_SIDE = 1 << 16


def _input(context: ImportContext, spec: LayerSpec) -> None:
    spec.params.allow_fields("shape")
    shape = spec.params.message("shape")
    shape.allow_fields("dim")
    dims = shape.integers("dim")
    location = spec.layer.location
    if context.input is not None:
        raise ModelFormatError(f"{location}: a second input; the only input must be the lightness")
    # One channel is the lightness; four are the lightness, ab and mask of hints.
    is_plane = len(dims) == 4 and dims[0] >= 1 and dims[1] in (1, 4)
    if not (is_plane and all(0 < dim <= MAX_INPUT_SIDE for dim in dims)):
        raise ModelFormatError(
            f"{location}: expected shape [1, 1, height, width] or [1, 4, height, width], got "
            f"{dims[:8]}"
        )
    context.add_input(spec.name, (1, dims[1], *(context.input_hw or (dims[2], dims[3]))))


def _relu(context: ImportContext, spec: LayerSpec) -> None:
    spec.params.allow_fields("negative_slope", "engine")
    slope = spec.params.number("negative_slope") or 0.0
    if not 0 <= slope <= 1:
        raise ModelFormatError(
            f"{spec.params.location}: negative_slope must be between 0 and 1, got {slope:g}"
        )
    shape = context.shapes[spec.inputs[0]]
    if slope:
        context.add_node("LeakyRelu", "", spec.inputs, shape, alpha=float(slope))
    else:
        context.add_node("Relu", "", spec.inputs, shape)


def _tanh(context: ImportContext, spec: LayerSpec) -> None:
    spec.params.allow_fields("engine")
    context.add_node("Tanh", "", spec.inputs, context.shapes[spec.inputs[0]])


def _slice(context: ImportContext, spec: LayerSpec) -> None:
    """Add one node for each top, named with its number."""
    params = spec.params
    params.allow_fields("axis", "slice_dim", "slice_point")
    axis = params.integer("axis", params.integer("slice_dim", 1))
    shape = context.shapes[spec.inputs[0]]
    parts = len(spec.layer.strings("top"))
    points = params.integers("slice_point")
    if not points and shape[1] % parts == 0:
        points = [shape[1] // parts * index for index in range(1, parts)]
    bounds = [0, *points, shape[1]]
    is_rising = all(first < last for first, last in pairwise(bounds))
    if axis != 1 or len(points) != parts - 1 or not is_rising:
        raise ModelFormatError(
            f"{params.location}: expected axis 1 and {parts - 1} rising slice_point between 0 and "
            f"{shape[1]}, got axis {axis} and {points[:8]}"
        )
    for index, (first, last) in enumerate(pairwise(bounds)):
        ranges = [
            context.add_integers(f"{index}_{key}", [value])
            for key, value in (("start", first), ("stop", last), ("axis", 1))
        ]
        part_shape = (shape[0], last - first, *shape[2:])
        context.add_node("Slice", str(index), (*spec.inputs, *ranges), part_shape)


def _batch_norm(context: ImportContext, spec: LayerSpec) -> None:
    params = spec.params
    params.allow_fields("use_global_stats", "moving_average_fraction", "eps")
    if not params.flag("use_global_stats", True):
        raise ModelFormatError(f"{params.location}: use_global_stats: false is not supported")
    eps = params.number("eps")
    eps = 1e-5 if eps is None else eps
    shape = context.shapes[spec.inputs[0]]
    channels = shape[1]
    mean, variance, factor = (
        context.blob(spec.name, index, 3, blob_shape).array()
        for index, blob_shape in enumerate([(channels,), (channels,), (1,)])
    )
    # Caffe stores sums and their total weight, 0 if nothing was summed.
    scale = np.float64(0 if factor[0] == 0 else 1 / np.float64(factor[0]))
    with np.errstate(over="ignore", invalid="ignore"):
        mean, variance = mean * scale, variance * scale
    location = spec.layer.location
    if not (0 <= eps <= 1 and variance.min() + eps > 0 and abs(mean).max() <= FLOAT_MAX):
        raise ModelFormatError(f"{location}: invalid statistics (is the variance negative?)")
    if variance.max() > FLOAT_MAX:
        raise ModelFormatError(f"{location}: the variance is not finite")
    arrays = {
        "scale": np.ones(channels),
        "shift": np.zeros(channels),
        "mean": mean,
        "variance": variance,
    }
    names = [context.add_constant(suffix, constant(array)) for suffix, array in arrays.items()]
    context.add_node("BatchNormalization", "", (*spec.inputs, *names), shape, epsilon=float(eps))


def _scale(context: ImportContext, spec: LayerSpec) -> None:
    params = spec.params
    params.allow_fields("axis", "num_axes", "filler", "bias_term", "bias_filler")
    if params.integer("axis", 1) != 1 or params.integer("num_axes", 1) != 1:
        raise ModelFormatError(f"{params.location}: only a scale per channel is supported")
    shape = context.shapes[spec.inputs[0]]
    channels = shape[1]
    factor_shape = (1, channels, 1, 1)
    has_bias = params.flag("bias_term", False)
    if spec.name == SCALE_LAYER and context.centers is not None:
        if has_bias or channels != len(context.centers):
            raise ModelFormatError(
                f"{spec.layer.location}: it must scale {len(context.centers)} bins, without a bias"
            )
        factor = constant(np.full(factor_shape, _inverse_temperature(context, params)))
    elif not has_bias and not context.has_blobs(spec.name):
        factor = constant(np.full(factor_shape, _filler(params)))
    else:
        blob = context.blob(spec.name, 0, 1 + has_bias, (channels,))
        factor = Constant(factor_shape, blob.load)
    scale = context.add_constant("scale", factor)
    suffix = "scaled" if has_bias else ""
    scaled = context.add_node("Mul", suffix, (*spec.inputs, scale), shape)
    if has_bias:
        blob = context.blob(spec.name, 1, 2, (channels,))
        bias = context.add_constant("bias", Constant(factor_shape, blob.load))
        context.add_node("Add", "", (scaled, bias), shape)


def _inverse_temperature(context: ImportContext, params: Message) -> float:
    if context.temperature is not None:
        return 1 / context.temperature
    value = _filler(params)
    if not 1e-6 <= value <= 1e6:
        raise ModelFormatError(
            f"{params.location}: 1/T must be between 1e-06 and 1e+06, got {value:g}"
        )
    return value


def _filler(params: Message) -> float:
    """Return the constant of a scale whose value is in the prototxt and not in the caffemodel."""
    filler = params.message("filler")
    filler.allow_fields("type", "value")
    value = filler.number("value")
    if filler.string("type", "constant") != "constant" or value is None:
        raise ModelFormatError(
            f"{params.location}: its filler must be a constant with the value 1/T"
        )
    return value


def _eltwise(context: ImportContext, spec: LayerSpec) -> None:
    params = spec.params
    params.allow_fields("operation", "coeff", "stable_prod_grad")
    is_sum = params.fields.get("operation", ["SUM"]) in (["SUM"], [1])
    if not is_sum or params.fields.get("coeff"):
        raise ModelFormatError(f"{params.location}: only SUM without coeff is supported")
    shapes = [context.shapes[name] for name in spec.inputs]
    if len(set(shapes)) > 1:
        if len({shape[:2] for shape in shapes}) > 1:
            raise ModelFormatError(f"{spec.layer.location}: cannot add tensors of shapes {shapes}")
        context.reject_size(f"{spec.layer.location}: cannot add tensors of shapes {shapes}")
    total = spec.inputs[0]
    for number, other in enumerate(spec.inputs[1:], 2):
        suffix = "" if number == len(spec.inputs) else str(number)
        total = context.add_node("Add", suffix, (total, other), shapes[0])


def _softmax(context: ImportContext, spec: LayerSpec) -> None:
    spec.params.allow_fields("axis", "engine")
    if spec.params.integer("axis", 1) != 1:
        raise ModelFormatError(
            f"{spec.params.location}: axis must be 1, got {spec.params.integer('axis')}"
        )
    context.add_node("Softmax", "", spec.inputs, context.shapes[spec.inputs[0]], axis=1)


def _silence(context: ImportContext, spec: LayerSpec) -> None:
    """Add nothing: the layer only marks a tensor as unused."""


class LayerType(NamedTuple):
    """A Caffe layer type.

    Attributes
    ----------
    convert : callable
        Checks a layer of the type and adds its nodes.
    params : str
        Field of the layer that holds its parameters.
    bottoms, tops : int
        Number of inputs (for Eltwise: at least) and outputs (for Slice: at least).
    has_blobs : bool
        Its weights are in the caffemodel.
    """

    convert: Callable[[ImportContext, LayerSpec], None]
    params: str
    bottoms: int
    tops: int
    has_blobs: bool = False


LAYERS = {
    "Input": LayerType(_input, "input_param", 0, 1),
    "Convolution": LayerType(convolution, "convolution_param", 1, 1, True),
    "Deconvolution": LayerType(convolution, "convolution_param", 1, 1, True),
    "ReLU": LayerType(_relu, "relu_param", 1, 1),
    "TanH": LayerType(_tanh, "tanh_param", 1, 1),
    "Slice": LayerType(_slice, "slice_param", 1, 2),
    "BatchNorm": LayerType(_batch_norm, "batch_norm_param", 1, 1, True),
    "Scale": LayerType(_scale, "scale_param", 1, 1, True),
    "Eltwise": LayerType(_eltwise, "eltwise_param", 2, 1),
    "Softmax": LayerType(_softmax, "softmax_param", 1, 1),
    "Silence": LayerType(_silence, "silence_param", 1, 0),
}
