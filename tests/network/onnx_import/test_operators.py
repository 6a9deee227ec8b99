"""Each operator: OpenCV on the import agrees with ONNX Runtime on the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.network.onnx_import.checks import check, model, node, save

RNG = np.random.default_rng(1)
F, I = np.float32, np.int64  # noqa: E741


def weights(*shape: int) -> Any:
    return RNG.normal(0, 0.5, shape).astype(F)


def positive(*shape: int) -> Any:
    return RNG.uniform(0.5, 2, shape).astype(F)


X = {"x": (1, 6, 8, 10)}
XY = {"a": (1, 6, 8, 10), "b": (1, 6, 8, 10)}
TOKENS = {"x": (1, 7, 12)}

CASES: dict[str, tuple[list[Any], dict[str, Any], dict[str, Any], int]] = {}


def case(
    name: str,
    nodes: list[Any],
    inputs: dict[str, Any] = X,
    constants: dict[str, Any] | None = None,
    opset: int = 17,
) -> None:
    assert name not in CASES
    CASES[name] = (nodes, inputs, constants or {}, opset)


for op in ("Relu", "Sigmoid", "Tanh", "Exp", "Abs", "Neg", "Sin", "Cos", "Floor", "Ceil", "Erf"):
    case(op, [node(op, "x")])
for op in ("Softplus", "LeakyRelu", "Elu", "HardSigmoid", "HardSwish", "Round"):
    case(op, [node(op, "x")])
for op in ("Sqrt", "Log", "Reciprocal"):
    case(op, [node("Abs", "x", "p"), node("Add", "p one", "q"), node(op, "q")], X, {"one": F(1)})
case("leaky slope", [node("LeakyRelu", "x", alpha=0.3)])
case("PRelu per channel", [node("PRelu", "x s")], X, {"s": weights(6, 1, 1)})
case("PRelu of one value", [node("PRelu", "x s")], X, {"s": F([0.2])})
case("Clip", [node("Clip", "x lo hi")], X, {"lo": F(-0.5), "hi": F(1)})
case("Clip below", [node("Clip", "x lo")], X, {"lo": F(0)})
case("Clip above", [node("Clip", "x - hi")], X, {"hi": F(0.3)})
case("Relu6 at opset 10", [node("Clip", "x", min=0.0, max=6.0)], X, {}, 10)
case("Gelu", [node("Gelu", "x")], X, {}, 20)
case("Gelu by tanh", [node("Gelu", "x", approximate="tanh")], X, {}, 20)
for power in (2, 0.5, 3):
    case(
        f"Pow {power}",
        [node("Abs", "x", "p"), node("Pow", "p e")],
        X,
        {"e": F(power)},
    )
for op in ("Add", "Sub", "Mul", "Max", "Min"):
    case(f"{op} of tensors", [node(op, "a b")], XY)
    case(f"{op} of a scalar", [node(op, "x c")], X, {"c": F(0.5)})
    case(f"{op} per channel", [node(op, "x c")], X, {"c": weights(1, 6, 1, 1)})
    case(f"{op} per channel in front", [node(op, "c x")], X, {"c": weights(6, 1, 1)})
    case(f"{op} per column", [node(op, "x c")], X, {"c": weights(10)})
    case(f"{op} per row", [node(op, "x c")], X, {"c": weights(8, 1)})
    case(f"{op} of planes", [node(op, "a b")], {"a": (1, 6, 8, 10), "b": (1, 1, 8, 10)})
    case(f"{op} of gates", [node(op, "a b")], {"a": (1, 6, 1, 1), "b": (1, 6, 8, 10)})
    case(f"{op} of two ranks", [node(op, "a b")], {"a": (1, 6, 8, 10), "b": (8, 1)})
    case(f"{op} of both sides", [node(op, "a b")], {"a": (1, 6, 1, 10), "b": (1, 1, 8, 1)})
    case(f"{op} tokens", [node(op, "x c")], TOKENS, {"c": weights(12)})
    case(f"{op} widened", [node(op, "x c")], {"x": (1, 6, 1, 1)}, {"c": weights(1, 6, 4, 5)})
case("Div of tensors", [node("Abs", "b", "p"), node("Add", "p c", "q"), node("Div", "a q")], XY,
     {"c": F(0.5)})  # fmt: skip
case("Div by channel", [node("Div", "x c")], X, {"c": positive(6, 1, 1)})
case("Div of a constant", [node("Exp", "x", "p"), node("Div", "c p")], X, {"c": F(2)})
case("Sum of three", [node("Sum", "a b a")], XY)
case("Max of three", [node("Max", "a b c")], XY, {"c": F(0.1)})
case("Where", [node("Where", "m x c")], X,
     {"m": RNG.random((8, 10)) < 0.5, "c": F(-9)})  # fmt: skip
for op in ("Identity", "Dropout"):
    case(op, [node(op, "x", "z"), node("Relu", "z")])
case("square of itself", [node("Mul", "x x")])

for name, opset, nodes in (
    ("divided", 17, [node("Div", "x r", "d"), node("Erf", "d", "e"), node("Add", "e one", "f"),
                     node("Mul", "x f", "g"), node("Mul", "g h")]),
    # A file of 214 bytes with these nodes crashes OpenCV 4.10 to 5.0.
    ("crashes OpenCV", 18, [node("Div", "x r", "d"), node("Erf", "d", "e"),
                            node("Add", "e one", "f"), node("Mul", "f h", "g"),
                            node("Mul", "x g")]),
    ("halved first", 17, [node("Mul", "x h", "k"), node("Div", "x r", "d"), node("Erf", "d", "e"),
                          node("Add", "one e", "f"), node("Mul", "k f")]),
):  # fmt: skip
    case(
        f"GELU {name}",
        nodes,
        TOKENS,
        {"r": F(2**0.5), "i": F(0.5**0.5), "one": F(1), "h": F(0.5)},
        opset,
    )

# OpenCV takes these for layers that they resemble.
GATED = {"a": (1, 6, 8, 10), "b": (1, 6, 8, 10)}
case("Sigmoid of another tensor", [node("Sigmoid", "b", "s"), node("Mul", "a s")], GATED)
case("Tanh of softplus of another",
     [node("Softplus", "b", "s"), node("Tanh", "s", "t"), node("Mul", "a t")], GATED)  # fmt: skip
case("Log of 3 + exp", [node("Exp", "x", "e"), node("Add", "e c", "f"), node("Log", "f")], X,
     {"c": F(3)})  # fmt: skip
case("Elu between products", [node("Div", "x c", "d"), node("Elu", "d", "e"), node("Mul", "a e")],
     {"x": (1, 6, 8, 10), "a": (1, 6, 8, 10)}, {"c": F(2)})  # fmt: skip
case("Elu of a quotient",
     [node("Exp", "b", "p"), node("Div", "a p", "d"), node("Elu", "d", "e"), node("Mul", "a e")],
     GATED)  # fmt: skip
case("GELU of other constants",
     [node("Div", "x r", "d"), node("Erf", "d", "e"), node("Add", "e one", "f"),
      node("Mul", "x f", "g"), node("Mul", "g h")], X,
     {"r": F(1.5), "one": F(0.9), "h": F(0.4)})  # fmt: skip
case("GELU of two tensors",
     [node("Div", "a r", "d"), node("Erf", "d", "e"), node("Add", "e one", "f"),
      node("Mul", "b f", "g"), node("Mul", "g h")], GATED,
     {"r": F(2**0.5), "one": F(1), "h": F(0.5)})  # fmt: skip
case("GELU by tanh in parts",
     [node("Mul", "x x", "s"), node("Mul", "x s", "c"), node("Mul", "k c", "m"),
      node("Add", "x m", "p"), node("Mul", "r p", "q"), node("Tanh", "q", "t"),
      node("Add", "one t", "u"), node("Mul", "x u", "v"), node("Mul", "h v")], X,
     {"k": F(0.044715), "r": F(0.79788456), "one": F(1), "h": F(0.5)})  # fmt: skip
case("MatMul and a plane added", [node("MatMul", "x w", "m"), node("Add", "m c")], TOKENS,
     {"w": weights(12, 12), "c": weights(1, 7, 12)})  # fmt: skip
case("deviation of another mean",
     [node("ReduceMean", "x", "m", axes=[-1]), node("Sub", "x m", "d"), node("Abs", "d", "q"),
      node("Pow", "q p", "s"), node("ReduceMean", "s", "v", axes=[-1]), node("Add", "v e", "w"),
      node("Sqrt", "w", "r"), node("Div", "d r")], TOKENS,
     {"p": F(1.5), "e": F(1e-5)}, 12)  # fmt: skip

CONV = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
case("Conv", [node("Conv", "x w b", **CONV)], X, {"w": weights(4, 6, 3, 3), "b": weights(4)})
case("Conv without bias", [node("Conv", "x w", **CONV)], X, {"w": weights(4, 6, 3, 3)})
case("Conv of stride 2", [node("Conv", "x w", strides=[2, 2], **CONV)], X,
     {"w": weights(4, 6, 3, 3)})  # fmt: skip
case("Conv depthwise", [node("Conv", "x w b", group=6, kernel_shape=[7, 7], pads=[3] * 4)], X,
     {"w": weights(6, 1, 7, 7), "b": weights(6)})  # fmt: skip
case("Conv in groups", [node("Conv", "x w", group=2, **CONV)], X, {"w": weights(4, 3, 3, 3)})
case("Conv dilated", [node("Conv", "x w", dilations=[2, 2], pads=[2] * 4)], X,
     {"w": weights(4, 6, 3, 3)})  # fmt: skip
case("Conv patches", [node("Conv", "x w", strides=[4, 4])], {"x": (1, 3, 16, 24)},
     {"w": weights(8, 3, 4, 4)})  # fmt: skip
case("Conv with uneven pads", [node("Conv", "x w", pads=[0, 1, 2, 1])], X,
     {"w": weights(4, 6, 3, 3)})  # fmt: skip
for auto in ("SAME_UPPER", "SAME_LOWER", "VALID"):
    case(f"Conv {auto}", [node("Conv", "x w", auto_pad=auto, strides=[2, 2])], X,
         {"w": weights(4, 6, 3, 3)})  # fmt: skip
case("Conv in one dimension", [node("Conv", "x w b")], {"x": (1, 6, 20)},
     {"w": weights(3, 6, 1), "b": weights(3)})  # fmt: skip
for pads, more in (
    ([1] * 4, [0, 0]),
    ([1] * 4, [1, 1]),
    ([0] * 4, [0, 0]),
    ([0, 1, 0, 1], [0, 0]),
    ([0, 1, 1, 0], [0, 0]),
    ([0, 0, 1, 1], [1, 0]),
):
    case(f"ConvTranspose {pads} {more}",
         [node("ConvTranspose", "x w b", strides=[2, 2], pads=pads, output_padding=more)], X,
         {"w": weights(6, 4, 3, 3), "b": weights(4)})  # fmt: skip
case("ConvTranspose by 4", [node("ConvTranspose", "x w", strides=[2, 2], pads=[1] * 4)], X,
     {"w": weights(6, 4, 4, 4)})  # fmt: skip
case("ConvTranspose in groups", [node("ConvTranspose", "x w", strides=[2, 2], group=2)], X,
     {"w": weights(6, 2, 2, 2)})  # fmt: skip
for op in ("MaxPool", "AveragePool"):
    case(f"{op} 2", [node(op, "x", kernel_shape=[2, 2], strides=[2, 2])])
    case(f"{op} 3 padded", [node(op, "x", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)])
    case(f"{op} of stride 1", [node(op, "x", kernel_shape=[2, 2])])
case(
    "AveragePool with its pad",
    [node("AveragePool", "x", kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1)],
)
case("GlobalAveragePool", [node("GlobalAveragePool", "x")])
case("GlobalMaxPool", [node("GlobalMaxPool", "x")])

case("MatMul", [node("MatMul", "x w")], TOKENS, {"w": weights(12, 5)})
case("Linear", [node("MatMul", "x w", "m"), node("Add", "b m")], TOKENS,
     {"w": weights(12, 5), "b": weights(5)})  # fmt: skip
case("MatMul of planes", [node("MatMul", "x w")], X, {"w": weights(10, 3)})
case("MatMul from the left", [node("MatMul", "w x")], X, {"w": weights(3, 8)})
case("MatMul of tensors", [node("MatMul", "a b")], {"a": (1, 4, 7, 6), "b": (1, 4, 6, 9)})
case("MatMul broadcast", [node("MatMul", "a b")], {"a": (1, 4, 7, 6), "b": (6, 9)})
case("MatMul of a vector", [node("MatMul", "x w")], TOKENS, {"w": weights(12)})
case("MatMul of matrices", [node("MatMul", "a b")], {"a": (7, 6), "b": (6, 9)})
case("Gemm", [node("Gemm", "x w b", transB=1)], {"x": (7, 12)},
     {"w": weights(5, 12), "b": weights(5)})  # fmt: skip
case("Gemm scaled", [node("Gemm", "x w b", alpha=0.5, beta=2.0)], {"x": (7, 12)},
     {"w": weights(12, 5), "b": weights(5)})  # fmt: skip
case("Gemm turned", [node("Gemm", "x w", transA=1)], {"x": (12, 7)}, {"w": weights(12, 5)})
for equation, a, b in (
    ("bqc,bchw->bqhw", (1, 5, 6), (1, 6, 4, 7)),
    ("bid,bjd->bij", (1, 5, 6), (1, 4, 6)),
    ("bhqk,bhkd->bqhd", (1, 2, 5, 6), (1, 2, 6, 3)),
    ("ij,jk->ik", (3, 4), (4, 5)),
    ("nchw,nc->nhw", (1, 6, 4, 5), (1, 6)),
):
    case(f"Einsum {equation}", [node("Einsum", "a b", equation=equation)], {"a": a, "b": b})
case("Einsum of one", [node("Einsum", "x", equation="bchw->bhwc")])

case("BatchNormalization", [node("BatchNormalization", "x s b m v")], X,
     {"s": weights(6), "b": weights(6), "m": weights(6), "v": positive(6)})  # fmt: skip
case("BatchNormalization of rows", [node("BatchNormalization", "x s b m v")], {"x": (7, 6)},
     {"s": weights(6), "b": weights(6), "m": weights(6), "v": positive(6)})  # fmt: skip
case("LayerNormalization", [node("LayerNormalization", "x s b", epsilon=1e-6)], TOKENS,
     {"s": weights(12), "b": weights(12)})  # fmt: skip
case("LayerNormalization without bias", [node("LayerNormalization", "x s")], TOKENS,
     {"s": weights(12)})  # fmt: skip
case("LayerNormalization of planes", [node("LayerNormalization", "x s b", axis=1)], X,
     {"s": weights(6, 8, 10), "b": weights(6, 8, 10)})  # fmt: skip
case("InstanceNormalization", [node("InstanceNormalization", "x s b")], X,
     {"s": weights(6), "b": weights(6)})  # fmt: skip
for opset, count in ((18, 2), (21, 6)):
    case(f"GroupNormalization {opset}", [node("GroupNormalization", "x s b", num_groups=2)], X,
         {"s": weights(count), "b": weights(count)}, opset)  # fmt: skip
for axis in (1, 2, 3, -1):
    case(f"Softmax {axis}", [node("Softmax", "x", axis=axis)])
for axis in (1, 3):
    case(f"Softmax {axis} at opset 11", [node("Softmax", "x", axis=axis)], X, {}, 11)
case("Softmax tokens", [node("Softmax", "x", axis=-1)], TOKENS)
for op in ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceSumSquare"):
    for axes in ([1], [2, 3], [-1], [0, 2]):
        for keep in (0, 1):
            case(f"{op} {axes} {keep}", [node(op, "x", axes=axes, keepdims=keep)])
    case(f"{op} with axes as input", [node(op, "x a")], X, {"a": I([1])}, 18)
case("ReduceSum", [node("ReduceSum", "x a", keepdims=0)], X, {"a": I([1])})
case("ReduceSum at opset 11", [node("ReduceSum", "x", axes=[2, 3])], X, {}, 11)
case("LpNormalization", [node("LpNormalization", "x", axis=1)])
case("LayerNorm in parts",
     [node("ReduceMean", "x", "m", axes=[-1]), node("Sub", "x m", "d"), node("Pow", "d two", "s"),
      node("ReduceMean", "s", "v", axes=[-1]), node("Add", "v e", "w"), node("Sqrt", "w", "r"),
      node("Div", "d r", "n"), node("Mul", "n g", "p"), node("Add", "p b")], TOKENS,
     {"two": F(2), "e": F(1e-5), "g": weights(12), "b": weights(12)}, 12)  # fmt: skip

case("Reshape", [node("Reshape", "x s")], X, {"s": I([0, 2, -1])})
case("Flatten", [node("Flatten", "x")])
case("Squeeze", [node("Squeeze", "x a")], {"x": (1, 6, 1, 4)}, {"a": I([0, 2])})
case("Unsqueeze", [node("Unsqueeze", "x a")], TOKENS, {"a": I([0, -1])})
case("Squeeze at opset 11", [node("Squeeze", "x", axes=[2])], {"x": (1, 6, 1, 4)}, {}, 11)
for perm in ((0, 2, 3, 1), (0, 3, 1, 2), (0, 1, 3, 2), (0, 2, 1, 3), (3, 2, 1, 0)):
    case(f"Transpose {perm}", [node("Transpose", "x", perm=perm)])
case("Transpose of rows", [node("Transpose", "x", perm=[1, 0, 2])], TOKENS)
case("Transpose of six axes", [node("Transpose", "x", perm=[0, 1, 4, 2, 5, 3])],
     {"x": (1, 3, 2, 2, 4, 5)})  # fmt: skip
for axis in (1, 2, 3):
    case(f"Concat {axis}", [node("Concat", "a b", axis=axis)], XY)
case("Concat with a constant", [node("Concat", "x c", axis=1)], X, {"c": weights(1, 2, 8, 10)})
case("Concat of one twice", [node("Concat", "x x", axis=1)])
case("Split", [node("Split", "x", "p q", axis=1), node("Mul", "p q")])
case("Split at opset 11",
     [node("Split", "x", "p q", axis=1, split=[2, 4]), node("Concat", "q p", axis=1)],
     X, {}, 11)  # fmt: skip
case("Split into three", [node("Split", "x", "p q r", axis=2, num_outputs=3),
                          node("Concat", "r q p", axis=2)], X, {}, 18)  # fmt: skip
for starts, ends, axes, steps in (
    ([1], [5], [1], [1]), ([0, 1], [8, -1], [2, 3], [2, 3]), ([-3], [1 << 62], [3], [1]),
    ([-1], [-(1 << 62)], [1], [-1]),
):  # fmt: skip
    case(f"Slice {starts} {axes} {steps}", [node("Slice", "x s e a t")], X,
         {"s": I(starts), "e": I(ends), "a": I(axes), "t": I(steps)})  # fmt: skip
case("Gather of one", [node("Gather", "x i", axis=1)], X, {"i": I(2)})
case("Gather of some", [node("Gather", "x i", axis=1)], X, {"i": I([2, 1, 0, -1])})
case("Expand", [node("Expand", "x s")], {"x": (1, 6, 1, 1)}, {"s": I([1, 6, 4, 5])})
case("Tile", [node("Tile", "x r")], {"x": (1, 3, 1, 5)}, {"r": I([1, 2, 4, 1])})
for mode in ("constant", "reflect", "edge"):
    case(f"Pad {mode}", [node("Pad", "x p", mode=mode)], X, {"p": I([0, 0, 1, 2, 0, 0, 3, 1])})
    case(f"Pad a corner {mode}", [node("Pad", "x p", mode=mode)], X,
         {"p": I([0, 0, 0, 0, 0, 0, 1, 1])})  # fmt: skip
    case(f"Pad and crop {mode}", [node("Pad", "x p", mode=mode)], X,
         {"p": I([0, 0, -1, 2, 0, 0, 0, -2])})  # fmt: skip
case("Pad channels", [node("Pad", "x p v")], X, {"p": I([0, 1, 0, 0, 0, 2, 0, 0]), "v": F(3)})
case("Pad with zeros at opset 10", [node("Pad", "x", pads=[0, 0, 1, 0, 0, 0, 1, 0])], X, {}, 10)
for mode in ("DCR", "CRD"):
    case(f"DepthToSpace {mode}", [node("DepthToSpace", "x", blocksize=2, mode=mode)],
         {"x": (1, 12, 3, 4)})  # fmt: skip
case("SpaceToDepth", [node("SpaceToDepth", "x", blocksize=2)])
for mode in ("nearest", "linear", "cubic"):
    for coordinates in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"):
        for scale in ([1, 1, 2, 2], [1, 1, 0.5, 0.5], [1, 1, 1.5, 2.5]):
            case(f"Resize {mode} {coordinates} {scale[2:]}",
                 [node("Resize", "x - s", mode=mode, coordinate_transformation_mode=coordinates)],
                 X, {"s": F(scale)})  # fmt: skip
for rounding in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"):
    case(f"Resize nearest {rounding}",
         [node("Resize", "x - - s", mode="nearest", nearest_mode=rounding,
               coordinate_transformation_mode="asymmetric")],
         X, {"s": I([1, 6, 11, 17])})  # fmt: skip
case("Upsample", [node("Upsample", "x s", mode="nearest")], X, {"s": F([1, 1, 2, 2])}, 9)
case("Upsample linear", [node("Upsample", "x s", mode="linear")], X, {"s": F([1, 1, 2, 2])}, 9)


def build(name: str) -> onnx.ModelProto:
    """Build a model of one case."""
    nodes, inputs, constants, opset = CASES[name]
    shapes, first = {}, []
    for port, shape in inputs.items():
        if len(shape) == 4:
            shapes[port] = shape
        else:  # an image has four axes
            shapes[f"{port}4"] = (1, 1, 1, int(np.prod(shape)))
            first.append(node("Reshape", f"{port}4 {port}s", port))
            constants = {**constants, f"{port}s": I(shape)}
    return model([*first, *nodes], shapes, constants, opset=opset)


@pytest.mark.parametrize("name", CASES)
def test_operator(name: str, tmp_path: Path) -> None:
    check(save(build(name), tmp_path))
