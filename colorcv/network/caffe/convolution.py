"""Converter of Caffe's convolutions and deconvolutions.

Settings that some OpenCV version computes wrongly or crashes on are rejected here.
"""

from __future__ import annotations

from ...errors import ModelFormatError
from ..graph import constant
from .context import ImportContext, LayerSpec
from .prototxt import Message

__all__ = ["AB_LAYER", "convolution"]

AB_LAYER = "class8_ab"  # its kernel is the centres

MAX_CHANNELS = 1 << 14
MAX_EXTENT = 64  # pixels of kernel, stride, pad and dilation


def convolution(context: ImportContext, spec: LayerSpec) -> None:
    """Add the node of a Convolution or Deconvolution layer."""
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
    if spec.name == AB_LAYER and context.centers is not None:
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
