"""The Caffe layers that the colouring networks use, each checked and turned into nodes.

Each converter takes the builder, the layer, its name, the tensors that it reads and its parameters.
Settings that some OpenCV computes wrongly or crashes on are refused here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...errors import ModelFormatError
from ..graph import Constant, constant
from .prototxt import Message

if TYPE_CHECKING:
    from .importer import Builder

__all__ = ["AB_LAYER", "FLOAT_MAX", "LAYERS", "SCALE_LAYER"]

SCALE_LAYER, AB_LAYER = "conv8_313_rh", "class8_ab"

MAX_CHANNELS = 1 << 14
MAX_STEP = 64  # of kernel, stride, pad and dilation
FLOAT_MAX = float(np.finfo(np.float32).max)


def _input(b: Builder, layer: Message, name: str, inputs: list[str], given: Message) -> None:
    given.only("shape")
    shape = given.message("shape")
    shape.only("dim")
    dims = shape.integers("dim")
    if b.input is not None:
        raise ModelFormatError(f"{layer.where}: a second input; the network takes lightness alone")
    if len(dims) != 4 or dims[0] < 1 or dims[1] != 1 or not all(0 < d <= 1 << 16 for d in dims):
        raise ModelFormatError(f"{layer.where}: shape {dims[:8]}, not 1, 1, height, width")
    height, width = b.input_hw or (dims[2], dims[3])
    b.input = (name, (1, 1, height, width))
    b.shapes[name] = b.input[1]
    b.numbers += height * width
    b.steps[name] = 1


def _convolution(b: Builder, layer: Message, name: str, inputs: list[str], given: Message) -> None:
    given.only(
        *("num_output", "bias_term", "group", "weight_filler", "bias_filler", "engine", "axis"),
        *("kernel_size", "kernel_h", "kernel_w", "stride", "stride_h", "stride_w"),
        *("pad", "pad_h", "pad_w", "dilation", "force_nd_im2col"),
    )
    deconvolution = layer.string("type") == "Deconvolution"
    kernel = _pair(given, "kernel_size", "kernel", None, 1)
    stride = _pair(given, "stride", "stride", 1, 1)
    pad = _pair(given, "pad", "pad", 0, 0)
    dilation = _pair(given, "dilation", "", 1, 1)
    extent = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    _, channels, *size = b.shapes[inputs[0]]
    outputs = _bounded(given, "num_output", given.integer("num_output"), 1, MAX_CHANNELS)
    group = _bounded(given, "group", given.integer("group", 1), 1, MAX_CHANNELS)
    if given.integer("axis", 1) != 1:
        raise ModelFormatError(f"{given.where}: axis {given.integer('axis')}, only 1 is known")
    if any(p >= e for p, e in zip(pad, extent, strict=True)):
        # OpenCV 5.0 reads beyond its memory at 1x1 kernels with a pad.
        raise ModelFormatError(f"{given.where}: pad {pad} is not smaller than the kernel {extent}")
    if group == channels > 1 and dilation != (1, 1):
        # OpenCV 4 gives wrong answers where the pad is not the dilation.
        raise ModelFormatError(f"{given.where}: a dilated depthwise convolution is not known")
    if deconvolution and (dilation != (1, 1) or group != 1):
        # OpenCV leaves the dilation out without a word, and OpenCV 4 mistakes the groups.
        raise ModelFormatError(
            f"{given.where}: a deconvolution with dilation or groups is not known"
        )
    if channels % group or outputs % group:
        raise ModelFormatError(
            f"{given.where}: group {group} does not divide {channels} channels into {outputs}"
        )
    steps = list(zip(size, extent, stride, pad, strict=True))
    if deconvolution:
        height, width = (s * (n - 1) + e - 2 * p for n, e, s, p in steps)
    else:
        height, width = ((n + 2 * p - e) // s + 1 for n, e, s, p in steps)
    if height < 1 or width < 1:
        b.refuse_size(f"{layer.where}: nothing is left of {size[0]}x{size[1]}")
    fan = (channels, outputs // group) if deconvolution else (outputs, channels // group)
    shape = (*fan, *kernel)
    takes = [*inputs, f"{name}:kernel"]
    if name == AB_LAYER:
        if shape != (2, len(b.centers), 1, 1):
            raise ModelFormatError(
                f"{layer.where}: kernel {shape}, but the centres are (2, {len(b.centers)}, 1, 1)"
            )
        b.keep(takes[1], constant(b.centers.T.reshape(shape)))
    else:
        bias = given.flag("bias_term", True)
        b.keep(takes[1], b.blob(name, 0, 1 + bias, shape))
        if bias:
            takes.append(b.keep(f"{name}:bias", b.blob(name, 1, 2, (outputs,))))
    step = b.steps[inputs[0]]
    b.steps[name] = max(1, step // max(stride)) if deconvolution else step * max(stride)
    b.add(
        "ConvTranspose" if deconvolution else "Conv",
        *(name, takes, (1, outputs, height, width)),
        kernel_shape=kernel,
        strides=stride,
        pads=pad + pad,
        dilations=dilation,
        group=group,
    )


def _relu(b: Builder, layer: Message, name: str, inputs: list[str], given: Message) -> None:
    given.only("negative_slope", "engine")
    if given.number("negative_slope"):
        raise ModelFormatError(f"{given.where}: negative_slope is not known")
    b.add("Relu", name, inputs, b.shapes[inputs[0]])


def _batch_norm(b: Builder, layer: Message, name: str, inputs: list[str], given: Message) -> None:
    given.only("use_global_stats", "moving_average_fraction", "eps")
    if not given.flag("use_global_stats", True):
        raise ModelFormatError(f"{given.where}: statistics of the batch are not known")
    eps = given.number("eps")
    eps = 1e-5 if eps is None else eps
    channels = b.shapes[inputs[0]][1]
    mean, variance, factor = (
        b.blob(name, i, 3, shape).array()
        for i, shape in enumerate([(channels,), (channels,), (1,)])
    )
    # Caffe keeps sums and the weight of them: 0 means that nothing was summed.
    scale = np.float64(0 if factor[0] == 0 else 1 / np.float64(factor[0]))
    with np.errstate(over="ignore", invalid="ignore"):
        mean, variance = mean * scale, variance * scale
    if not (0 <= eps <= 1 and variance.min() + eps > 0 and abs(mean).max() <= FLOAT_MAX):
        raise ModelFormatError(f"{layer.where}: its statistics make no sense (variance below 0?)")
    if variance.max() > FLOAT_MAX:
        raise ModelFormatError(f"{layer.where}: its variance is not finite")
    names = [f"{name}:{part}" for part in ("scale", "shift", "mean", "variance")]
    arrays = (np.ones(channels), np.zeros(channels), mean, variance)
    for key, array in zip(names, arrays, strict=True):
        b.keep(key, constant(array))
    b.add("BatchNormalization", name, [*inputs, *names], b.shapes[inputs[0]], epsilon=float(eps))


def _scale(b: Builder, layer: Message, name: str, inputs: list[str], given: Message) -> None:
    given.only("axis", "num_axes", "filler", "bias_term", "bias_filler")
    if given.integer("axis", 1) != 1 or given.integer("num_axes", 1) != 1:
        raise ModelFormatError(f"{given.where}: only a scale for each channel is known")
    shape = b.shapes[inputs[0]]
    channels = (1, shape[1], 1, 1)
    bias = given.flag("bias_term", False)
    if name == SCALE_LAYER:
        if bias or shape[1] != len(b.centers):
            raise ModelFormatError(
                f"{layer.where}: it should scale {len(b.centers)} bins, with no bias"
            )
        b.keep(f"{name}:scale", constant(np.full(channels, _inverse_temperature(b, given))))
    else:
        factor = b.blob(name, 0, 1 + bias, (shape[1],))
        b.keep(f"{name}:scale", Constant(channels, factor.make))
    scaled = b.add("Mul", f"{name}:scaled" if bias else name, [*inputs, f"{name}:scale"], shape)
    if bias:
        shift = b.blob(name, 1, 2, (shape[1],))
        b.add("Add", name, [scaled, b.keep(f"{name}:bias", Constant(channels, shift.make))], shape)


def _inverse_temperature(b: Builder, given: Message) -> float:
    if b.temperature is not None:
        return 1 / b.temperature
    filler = given.message("filler")
    filler.only("type", "value")
    value = filler.number("value")
    if filler.string("type", "constant") != "constant" or value is None:
        raise ModelFormatError(f"{given.where}: its filler states no constant value for 1/T")
    if not 1e-6 <= value <= 1e6:
        raise ModelFormatError(f"{given.where}: 1/T is {value}, not between 1e-6 and 1e6")
    return value


def _eltwise(b: Builder, layer: Message, name: str, inputs: list[str], given: Message) -> None:
    given.only("operation", "coeff", "stable_prod_grad")
    if given.fields.get("operation", ["SUM"]) not in (["SUM"], [1]) or given.fields.get("coeff"):
        raise ModelFormatError(f"{given.where}: only a plain SUM is known")
    shapes = [b.shapes[i] for i in inputs]
    if len(set(shapes)) > 1:
        if len({shape[:2] for shape in shapes}) > 1:
            raise ModelFormatError(f"{layer.where}: it sums unlike tensors {shapes}")
        b.refuse_size(f"{layer.where}: it sums unlike tensors {shapes}")
    total = inputs[0]
    for number, other in enumerate(inputs[1:], 2):
        last = number == len(inputs)
        total = b.add("Add", name if last else f"{name}:{number}", [total, other], shapes[0])


def _softmax(b: Builder, layer: Message, name: str, inputs: list[str], given: Message) -> None:
    given.only("axis", "engine")
    if given.integer("axis", 1) != 1:
        raise ModelFormatError(f"{given.where}: axis {given.integer('axis')}, only 1 is known")
    b.add("Softmax", name, inputs, b.shapes[inputs[0]], axis=1)


def _silence(b: Builder, layer: Message, name: str, inputs: list[str], given: Message) -> None:
    """Take a tensor that nobody reads."""


def _pair(given: Message, name: str, stem: str, default: int | None, least: int) -> tuple[int, int]:
    """Return a (height, width) setting in any of the ways in which Caffe lets it be written."""
    values = given.integers(name)
    apart = [f"{stem}_h", f"{stem}_w"] if stem else []
    if any(key in given.fields for key in apart):
        if values and name not in apart:
            raise ModelFormatError(f"{given.where}: both {name} and {apart[0]}, {apart[1]}")
        values = [given.integer(key, default) for key in apart]
    if not values and default is not None:
        values = [default]
    if len(values) not in (1, 2):
        raise ModelFormatError(f"{given.where}: {name} has {len(values)} values, not 1 or 2")
    height, width = (_bounded(given, name, v, least, MAX_STEP) for v in (values[0], values[-1]))
    return height, width


def _bounded(given: Message, name: str, value: int, least: int, most: int) -> int:
    if not least <= value <= most:
        raise ModelFormatError(f"{given.where}: {name} is {value}, not in {least}..{most}")
    return value


# Caffe's type -> (how it is turned into nodes, its parameters' field, bottoms at least, tops)
LAYERS = {
    "Input": (_input, "input_param", 0, 1),
    "Convolution": (_convolution, "convolution_param", 1, 1),
    "Deconvolution": (_convolution, "convolution_param", 1, 1),
    "ReLU": (_relu, "relu_param", 1, 1),
    "BatchNorm": (_batch_norm, "batch_norm_param", 1, 1),
    "Scale": (_scale, "scale_param", 1, 1),
    "Eltwise": (_eltwise, "eltwise_param", 2, 1),
    "Softmax": (_softmax, "softmax_param", 1, 1),
    "Silence": (_silence, "silence_param", 1, 0),
}
