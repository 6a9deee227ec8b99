"""Converters of the Caffe layers that colorization networks use.

Each checks one layer and adds its nodes. Settings that some OpenCV version computes wrongly or
crashes on are rejected here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ...errors import ModelFormatError
from ..graph import Constant, constant
from .context import FLOAT_MAX, ImportContext, LayerSpec
from .prototxt import Message

__all__ = ["AB_LAYER", "LAYERS", "SCALE_LAYER"]

SCALE_LAYER, AB_LAYER = "conv8_313_rh", "class8_ab"

MAX_CHANNELS = 1 << 14
MAX_EXTENT = 64  # pixels of kernel, stride, pad and dilation
MAX_INPUT_SIDE = 1 << 16


def _input(context: ImportContext, spec: LayerSpec) -> None:
    spec.params.allow_fields("shape")
    shape = spec.params.message("shape")
    shape.allow_fields("dim")
    dims = shape.integers("dim")
    location = spec.layer.location
    if context.input is not None:
        raise ModelFormatError(f"{location}: a second input; the only input must be the lightness")
    is_plane = len(dims) == 4 and dims[0] >= 1 and dims[1] == 1
    if not (is_plane and all(0 < dim <= MAX_INPUT_SIDE for dim in dims)):
        raise ModelFormatError(f"{location}: expected shape [1, 1, height, width], got {dims[:8]}")
    context.add_input(spec.name, (1, 1, *(context.input_hw or (dims[2], dims[3]))))


def _convolution(context: ImportContext, spec: LayerSpec) -> None:
    params = spec.params
    params.allow_fields(
        *("num_output", "bias_term", "group", "weight_filler", "bias_filler", "engine", "axis"),
        *("kernel_size", "kernel_h", "kernel_w", "stride", "stride_h", "stride_w"),
        *("pad", "pad_h", "pad_w", "dilation", "force_nd_im2col"),
    )
    is_deconvolution = spec.layer.string("type") == "Deconvolution"
    kernel = _pair(params, "kernel_size", "kernel", None, 1)
    stride = _pair(params, "stride", "stride", 1, 1)
    pad = _pair(params, "pad", "pad", 0, 0)
    dilation = _pair(params, "dilation", "", 1, 1)
    extent = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    _, channels, *size = context.shapes[spec.inputs[0]]
    outputs = _check_range(params, "num_output", params.integer("num_output"), 1, MAX_CHANNELS)
    group = _check_range(params, "group", params.integer("group", 1), 1, MAX_CHANNELS)
    if params.integer("axis", 1) != 1:
        raise ModelFormatError(f"{params.location}: axis must be 1, got {params.integer('axis')}")
    if any(p >= e for p, e in zip(pad, extent, strict=True)):
        # OpenCV 5.0 reads out of bounds for 1x1 kernels with a pad.
        raise ModelFormatError(
            f"{params.location}: pad must be smaller than the kernel {extent}, got {pad}"
        )
    if group == channels > 1 and dilation != (1, 1):
        # OpenCV 4 computes a wrong output if the pad is not equal to the dilation.
        raise ModelFormatError(
            f"{params.location}: dilated depthwise convolutions are not supported"
        )
    if is_deconvolution and (dilation != (1, 1) or group != 1):
        # OpenCV ignores the dilation without a warning, and OpenCV 4 computes groups wrongly.
        raise ModelFormatError(
            f"{params.location}: deconvolutions with dilation or groups are not supported"
        )
    if channels % group or outputs % group:
        raise ModelFormatError(
            f"{params.location}: group must divide {channels} and {outputs} channels, got {group}"
        )
    sides = list(zip(size, extent, stride, pad, strict=True))
    if is_deconvolution:
        height, width = (s * (n - 1) + e - 2 * p for n, e, s, p in sides)
    else:
        height, width = ((n + 2 * p - e) // s + 1 for n, e, s, p in sides)
    if height < 1 or width < 1:
        context.reject_size(f"{spec.layer.location}: a {size[0]}x{size[1]} input has no output")
    in_stride = context.strides[spec.inputs[0]]
    context.strides[spec.name] = (
        max(1, in_stride // max(stride)) if is_deconvolution else in_stride * max(stride)
    )
    fan = (channels, outputs // group) if is_deconvolution else (outputs, channels // group)
    context.add_node(
        "ConvTranspose" if is_deconvolution else "Conv",
        "",
        (*spec.inputs, *_weights(context, spec, (*fan, *kernel), outputs)),
        (1, outputs, height, width),
        kernel_shape=kernel,
        strides=stride,
        pads=pad + pad,
        dilations=dilation,
        group=group,
    )


def _weights(
    context: ImportContext, spec: LayerSpec, shape: tuple[int, ...], outputs: int
) -> list[str]:
    """Add the kernel and the bias, if any, of a convolution and return their names."""
    if spec.name == AB_LAYER:
        expected = (2, len(context.centers), 1, 1)
        if shape != expected:
            raise ModelFormatError(
                f"{spec.layer.location}: expected a kernel of shape {expected}, got {shape}"
            )
        return [context.add_constant("kernel", constant(context.centers.T.reshape(shape)))]
    has_bias = spec.params.flag("bias_term", True)
    names = [context.add_constant("kernel", context.blob(spec.name, 0, 1 + has_bias, shape))]
    if has_bias:
        names.append(context.add_constant("bias", context.blob(spec.name, 1, 2, (outputs,))))
    return names


def _relu(context: ImportContext, spec: LayerSpec) -> None:
    spec.params.allow_fields("negative_slope", "engine")
    if spec.params.number("negative_slope"):
        raise ModelFormatError(f"{spec.params.location}: negative_slope is not supported")
    context.add_node("Relu", "", spec.inputs, context.shapes[spec.inputs[0]])


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
    if spec.name == SCALE_LAYER:
        if has_bias or channels != len(context.centers):
            raise ModelFormatError(
                f"{spec.layer.location}: it must scale {len(context.centers)} bins, without a bias"
            )
        factor = constant(np.full(factor_shape, _inverse_temperature(context, params)))
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
    filler = params.message("filler")
    filler.allow_fields("type", "value")
    value = filler.number("value")
    if filler.string("type", "constant") != "constant" or value is None:
        raise ModelFormatError(
            f"{params.location}: its filler must be a constant with the value 1/T"
        )
    if not 1e-6 <= value <= 1e6:
        raise ModelFormatError(
            f"{params.location}: 1/T must be between 1e-06 and 1e+06, got {value:g}"
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


def _pair(
    params: Message, name: str, stem: str, default: int | None, minimum: int
) -> tuple[int, int]:
    """Return a (height, width) setting from any of the fields that Caffe allows for it."""
    values = params.integers(name)
    split_keys = [f"{stem}_h", f"{stem}_w"] if stem else []
    if any(key in params.fields for key in split_keys):
        if values:
            raise ModelFormatError(
                f"{params.location}: give {name} or {' and '.join(split_keys)}, not both"
            )
        values = [params.integer(key, default) for key in split_keys]
    if not values and default is not None:
        values = [default]
    if len(values) not in (1, 2):
        raise ModelFormatError(
            f"{params.location}: {name} must have 1 or 2 values, got {len(values)}"
        )
    height, width = (
        _check_range(params, name, value, minimum, MAX_EXTENT) for value in (values[0], values[-1])
    )
    return height, width


def _check_range(params: Message, name: str, value: int, minimum: int, maximum: int) -> int:
    if not minimum <= value <= maximum:
        raise ModelFormatError(
            f"{params.location}: {name} must be between {minimum} and {maximum}, got {value}"
        )
    return value


class LayerType(NamedTuple):
    """A Caffe layer type.

    Attributes
    ----------
    convert : callable
        Checks a layer of the type and adds its nodes.
    params : str
        Field of the layer that holds its parameters.
    bottoms, tops : int
        Number of inputs (for Eltwise: at least) and outputs.
    """

    convert: Callable[[ImportContext, LayerSpec], None]
    params: str
    bottoms: int
    tops: int


LAYERS = {
    "Input": LayerType(_input, "input_param", 0, 1),
    "Convolution": LayerType(_convolution, "convolution_param", 1, 1),
    "Deconvolution": LayerType(_convolution, "convolution_param", 1, 1),
    "ReLU": LayerType(_relu, "relu_param", 1, 1),
    "BatchNorm": LayerType(_batch_norm, "batch_norm_param", 1, 1),
    "Scale": LayerType(_scale, "scale_param", 1, 1),
    "Eltwise": LayerType(_eltwise, "eltwise_param", 2, 1),
    "Softmax": LayerType(_softmax, "softmax_param", 1, 1),
    "Silence": LayerType(_silence, "silence_param", 1, 0),
}
