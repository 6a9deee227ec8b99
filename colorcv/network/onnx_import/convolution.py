"""Converters of convolutions and pooling."""

from __future__ import annotations

from collections.abc import Callable

from ..graph import Constant, Shape
from .call import Call, Result
from .context import Tensor, Value
from .layout import sliced
from .padding import padded

__all__ = ["CONVOLUTION"]

_MAX_STEP = 1024  # stride, dilation, pad or kernel side


def _window(call: Call, kernel: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return strides and dilations of a window in two dimensions."""
    strides = call.integers("strides", (1, 1)) or ()
    dilations = call.integers("dilations", (1, 1)) or ()
    for name, values in (("strides", strides), ("dilations", dilations), ("kernel_shape", kernel)):
        if len(values) != 2 or any(not 1 <= item <= _MAX_STEP for item in values):
            call.context.fail(f"{name} {values} are not supported; two sides are expected")
    return strides, dilations


def _pads(
    call: Call, sides: tuple[int, ...], extent: tuple[int, ...], strides: tuple[int, ...]
) -> tuple[int, ...]:
    """Return the pads (top, left, bottom, right) of a convolution or pooling."""
    auto = call.text("auto_pad", "NOTSET")
    pads = call.integers("pads", (0, 0, 0, 0)) or ()
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        total = [
            max(0, (-(-side // step) - 1) * step + size - side)
            for side, size, step in zip(sides, extent, strides, strict=True)
        ]
        small, large = tuple(n // 2 for n in total), tuple(n - n // 2 for n in total)
        pads = small + large if auto == "SAME_UPPER" else large + small
    elif auto == "VALID":
        pads = (0, 0, 0, 0)
    elif auto != "NOTSET":
        call.context.fail(f"auto_pad {auto!r} is not supported")
    if len(pads) != 4 or any(not 0 <= pad <= _MAX_STEP for pad in pads):
        call.context.fail(f"pads {pads} are not supported")
    return pads


def _planes(call: Call) -> Tensor:
    """Return the input, which must be (N, C, H, W)."""
    value = call.tensor(0)
    if len(value.shape) != 4:
        call.context.fail(f"expected an input of shape (N, C, H, W), got {value.shape}")
    return value


def _bias(call: Call, channels: int) -> list[Constant]:
    return [] if call.optional(2) is None else [call.weights(2, (channels,))]


def _conv(call: Call) -> Result:
    context, weights = call.context, call.weights(1)
    value = call.tensor(0)
    if len(value.shape) == 3 and len(weights.shape) == 3:
        return _conv_1d(call, value, weights)
    value = _planes(call)
    group = call.integer("group", 1)
    if len(weights.shape) != 4 or group < 1:
        context.fail(f"weights of shape {weights.shape} and group {group} are not supported")
    outputs, per_group = weights.shape[:2]
    kernel = weights.shape[2:]
    if value.shape[1] != per_group * group or outputs % group:
        context.fail(f"weights of shape {weights.shape} do not fit {value.shape}")
    if call.integers("kernel_shape", kernel) != kernel:
        context.fail(f"kernel_shape differs from its weights {weights.shape}")
    strides, dilations = _window(call, kernel)
    extent = tuple((side - 1) * step + 1 for side, step in zip(kernel, dilations, strict=True))
    pads = _pads(call, value.shape[2:], extent, strides)
    shape = (value.shape[0], outputs, *_covered(call, value.shape, extent, strides, pads))
    return context.emit(
        "Conv",
        [value, weights, *_bias(call, outputs)],
        shape,
        kernel_shape=kernel,
        strides=strides,
        dilations=dilations,
        pads=pads,
        group=group,
    )


def _conv_1d(call: Call, value: Tensor, weights: Constant) -> Result:
    """Convert a pointwise convolution in one dimension, as attention layers have it."""
    context, (n, channels, side) = call.context, value.shape
    outputs = weights.shape[0]
    defaults = {"kernel_shape": (1,), "strides": (1,), "dilations": (1,), "pads": (0, 0)}
    plain = all(call.integers(name, default) == default for name, default in defaults.items())
    if not plain or weights.shape[1:] != (channels, 1) or call.integer("group", 1) != 1:
        context.fail("a convolution in one dimension is supported with kernel 1 only")
    call.ignore("auto_pad")
    plane = context.reshaped(value, (n, channels, side, 1))
    kernel = context.reshaped(weights, (outputs, channels, 1, 1))
    made = context.emit(
        "Conv",
        [plane, kernel, *_bias(call, outputs)],
        (n, outputs, side, 1),
        kernel_shape=(1, 1),
        strides=(1, 1),
        dilations=(1, 1),
        pads=(0, 0, 0, 0),
        group=1,
    )
    return context.reshaped(made, (n, outputs, side))


def _covered(
    call: Call,
    shape: Shape,
    extent: tuple[int, ...],
    strides: tuple[int, ...],
    pads: tuple[int, ...],
) -> tuple[int, int]:
    """Return the rows and columns of windows that fit into the padded input."""
    sides = [(shape[2 + i] + pads[i] + pads[2 + i] - extent[i]) // strides[i] + 1 for i in range(2)]
    if min(sides) < 1:
        call.context.fail(f"a window of {extent} does not fit into {shape} with pads {pads}")
    return sides[0], sides[1]


def _conv_transpose(call: Call) -> Result:
    context, value, weights = call.context, _planes(call), call.weights(1)
    group = call.integer("group", 1)
    if len(weights.shape) != 4 or group < 1 or weights.shape[0] != value.shape[1]:
        context.fail(f"weights of shape {weights.shape} do not fit {value.shape}")
    if value.shape[1] % group:
        context.fail(f"group {group} does not fit {value.shape}")
    outputs, kernel = weights.shape[1] * group, weights.shape[2:]
    if call.integers("kernel_shape", kernel) != kernel:
        context.fail(f"kernel_shape differs from its weights {weights.shape}")
    strides, dilations = _window(call, kernel)
    more = call.integers("output_padding", (0, 0)) or (0, 0)
    extent = tuple((side - 1) * step + 1 for side, step in zip(kernel, dilations, strict=True))
    if call.text("auto_pad", "NOTSET") != "NOTSET" or call.has("output_shape"):
        context.fail("auto_pad and output_shape are not supported; state pads")
    pads = call.integers("pads", (0, 0, 0, 0)) or ()
    if len(pads) != 4 or len(more) != 2 or any(not 0 <= n <= _MAX_STEP for n in pads + more):
        context.fail(f"pads {pads} and output_padding {more} are not supported")
    if any(extra >= step for extra, step in zip(more, strides, strict=True)):
        context.fail(f"output_padding {more} must be smaller than the strides {strides}")
    sides = [
        (value.shape[2 + i] - 1) * strides[i] + extent[i] + more[i] - pads[i] - pads[2 + i]
        for i in range(2)
    ]
    if min(sides) < 1:
        context.fail(f"pads {pads} leave nothing of the output")
    crop = (0, 0, 0, 0)
    if pads[:2] != pads[2:]:  # OpenCV 4 has no uneven pads
        crop, pads = pads, (0, 0, 0, 0)
    full = [side + crop[i] + crop[2 + i] for i, side in enumerate(sides)]
    made: Value = context.emit(
        "ConvTranspose",
        [value, weights, *_bias(call, outputs)],
        (value.shape[0], outputs, *full),
        kernel_shape=kernel,
        strides=strides,
        dilations=dilations,
        pads=pads,
        group=group,
        output_padding=more,
    )
    for axis, first, side in zip((2, 3), crop[:2], sides, strict=True):
        made = sliced(context, made, axis, first, first + side)
    return made


def _pool(call: Call) -> Result:
    op = call.node.op
    value: Value = _planes(call)
    kernel = call.integers("kernel_shape") or ()
    strides, dilations = _window(call, kernel)
    ceil = call.integer("ceil_mode", 0)
    call.ignore("storage_order")
    if dilations != (1, 1) or len(call.node.outputs) > 1:
        call.context.fail("dilations and indices are not supported")
    pads = _pads(call, value.shape[2:], kernel, strides)
    if any(pad >= side for pad, side in zip(pads, kernel * 2, strict=True)):
        call.context.fail(f"pads {pads} must be smaller than the kernel {kernel}")
    sides = _covered(call, value.shape, kernel, strides, pads)
    if ceil:
        exact = all(
            (value.shape[2 + i] + pads[i] + pads[2 + i] - kernel[i]) % strides[i] == 0
            for i in range(2)
        )
        if not exact:
            call.context.fail("ceil_mode is not supported for this size; choose another size")
    shape = (*value.shape[:2], *sides)
    if op == "MaxPool":
        return call.context.emit(
            op, [value], shape, kernel_shape=kernel, strides=strides, pads=pads
        )
    if call.integer("count_include_pad", 0) and any(pads):
        # OpenCV 4 ignores count_include_pad, so the zeros become part of the input.
        before, after = [0, 0, *pads[:2]], [0, 0, *pads[2:]]
        value = padded(call.context, value, (before, after), "constant", 0.0)
        pads = (0, 0, 0, 0)
    return call.context.emit(op, [value], shape, kernel_shape=kernel, strides=strides, pads=pads)


CONVOLUTION: dict[str, Callable[[Call], Result]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "MaxPool": _pool,
    "AveragePool": _pool,
}
