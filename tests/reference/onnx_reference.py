"""The zhang2016 network as ONNX, built with the `onnx` package and no code of colorcv.

The table of layers was written from the published prototxt, not from a parser's output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[Any]
Weights = Mapping[str, Sequence[Array]]


class Conv(NamedTuple):
    """One convolution, its ReLU, and its BatchNorm if `norm`."""

    name: str
    inputs: int
    outputs: int
    kernel: int = 3
    stride: int = 1
    dilation: int = 1
    relu: bool = True
    norm: bool = False


CONVOLUTIONS = (
    Conv("bw_conv1_1", 1, 64),
    Conv("conv1_2", 64, 64, stride=2, norm=True),
    Conv("conv2_1", 64, 128),
    Conv("conv2_2", 128, 128, stride=2, norm=True),
    Conv("conv3_1", 128, 256),
    Conv("conv3_2", 256, 256),
    Conv("conv3_3", 256, 256, stride=2, norm=True),
    Conv("conv4_1", 256, 512),
    Conv("conv4_2", 512, 512),
    Conv("conv4_3", 512, 512, norm=True),
    Conv("conv5_1", 512, 512, dilation=2),
    Conv("conv5_2", 512, 512, dilation=2),
    Conv("conv5_3", 512, 512, dilation=2, norm=True),
    Conv("conv6_1", 512, 512, dilation=2),
    Conv("conv6_2", 512, 512, dilation=2),
    Conv("conv6_3", 512, 512, dilation=2, norm=True),
    Conv("conv7_1", 512, 512),
    Conv("conv7_2", 512, 512),
    Conv("conv7_3", 512, 512, norm=True),
    Conv("conv8_1", 512, 256, kernel=4, stride=-2),  # negative stride: a deconvolution
    Conv("conv8_2", 256, 256),
    Conv("conv8_3", 256, 256),
    Conv("conv8_313", 256, 313, kernel=1, relu=False),
)


def build(
    weights: Weights,
    centers: Array,
    scale: float,
    size: tuple[int, int] = (224, 224),
    *,
    calibrate: bool = False,
) -> bytes:
    """Return the network as ONNX.

    With `calibrate`, each BatchNorm takes the statistics of its own input, and its input's mean
    and mean square over the image are outputs too, two for each norm, in order.
    """
    nodes: list[Any] = []
    constants: dict[str, Array] = {}
    extra: list[str] = []

    def constant(name: str, array: Array) -> str:
        constants[name] = np.ascontiguousarray(array, np.float32)
        return name

    x = "data_l"
    for conv in CONVOLUTIONS:
        kernel, bias = weights[conv.name][:2]
        inputs = [
            x,
            constant(f"{conv.name}.w", kernel),
            constant(f"{conv.name}.b", bias.reshape(-1)),
        ]
        pad = 1 if conv.stride < 0 else conv.dilation * (conv.kernel // 2)
        nodes.append(
            helper.make_node(
                "Conv" if conv.stride > 0 else "ConvTranspose",
                inputs,
                [conv.name],
                kernel_shape=[conv.kernel] * 2,
                strides=[abs(conv.stride)] * 2,
                dilations=[conv.dilation] * 2,
                pads=[pad] * 4,
            )
        )
        x = conv.name
        if conv.relu:
            nodes.append(helper.make_node("Relu", [x], [f"{x}.relu"]))
            x = f"{x}.relu"
        if conv.norm and calibrate:
            square = f"{x}.square"
            nodes.append(helper.make_node("Mul", [x, x], [square]))
            for source, out in ((x, f"{x}.mean"), (square, f"{x}.mean_square")):
                nodes.append(helper.make_node("GlobalAveragePool", [source], [out]))
                extra.append(out)
            ones = constant(f"{x}.ones", np.ones(conv.outputs))
            zeros = constant(f"{x}.zeros", np.zeros(conv.outputs))
            nodes.append(
                helper.make_node(
                    "InstanceNormalization", [x, ones, zeros], [f"{x}.norm"], epsilon=1e-5
                )
            )
            x = f"{x}.norm"
        elif conv.norm:
            mean, variance, factor = (
                np.asarray(b, np.float64) for b in weights[f"{conv.name}norm"]
            )
            by = 0 if factor.flat[0] == 0 else 1 / factor.flat[0]
            inverse = 1 / np.sqrt(variance.reshape(1, -1, 1, 1) * by + 1e-5)
            shift = -mean.reshape(1, -1, 1, 1) * by * inverse
            nodes.append(
                helper.make_node("Mul", [x, constant(f"{x}.inverse", inverse)], [f"{x}.scaled"])
            )
            nodes.append(
                helper.make_node(
                    "Add", [f"{x}.scaled", constant(f"{x}.shift", shift)], [f"{x}.norm"]
                )
            )
            x = f"{x}.norm"
    nodes += [
        helper.make_node("Mul", [x, constant("scale", np.full((1, 1, 1, 1), scale))], ["scaled"]),
        helper.make_node("Softmax", ["scaled"], ["softmax"], axis=1),
        helper.make_node(
            "Conv", ["softmax", constant("centers", centers.T[:, :, None, None])], ["ab"]
        ),
    ]
    graph = helper.make_graph(
        nodes,
        "reference",
        [helper.make_tensor_value_info("data_l", TensorProto.FLOAT, (1, 1, *size))],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4)
            for name in ["ab", *extra]
        ],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


def run(model: bytes | Array, lightness: Array) -> list[Array]:
    """Run ONNX bytes on ONNX Runtime, on L - 50 of an (H, W) lightness."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        bytes(model), options, providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    outputs: list[Array] = session.run(None, {name: (lightness - 50).astype("f4")[None, None]})
    return outputs


def run_ab(model: bytes | Array, lightness: Array) -> Array:
    """Return the (h, w, 2) ab that ONNX Runtime gives for an (H, W) lightness."""
    ab: Array = run(model, lightness)[0][0].transpose(1, 2, 0)
    return ab
