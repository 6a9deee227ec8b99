"""A tiny network with every layer type, as model files that a test can damage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.reference import caffe_writer

Array = npt.NDArray[Any]
Weights = dict[str, list[Array]]

CENTERS = caffe_writer.DATA / "pts_in_hull.npy"

PROTOTXT = """\
name: "small"
layer { name: "data_l" type: "Input" top: "data_l"
  input_param { shape { dim: 1 dim: 1 dim: 16 dim: 24 } } }
layer { name: "conv1" type: "Convolution" bottom: "data_l" top: "conv1"
  convolution_param { num_output: 6 kernel_size: 3 pad: 1 stride: 2 } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "norm1" type: "BatchNorm" bottom: "conv1" top: "norm1" }
layer { name: "conv2" type: "Convolution" bottom: "norm1" top: "conv2"
  convolution_param { num_output: 8 kernel_size: 3 pad: 2 dilation: 2 group: 2 } }
layer { name: "relu2" type: "ReLU" bottom: "conv2" top: "conv2" }
layer { name: "side" type: "Convolution" bottom: "norm1" top: "side"
  convolution_param { num_output: 8 kernel_h: 1 kernel_w: 3 pad_h: 0 pad_w: 1 bias_term: false } }
layer { name: "sum" type: "Eltwise" bottom: "conv2" bottom: "side" top: "sum" }
layer { name: "scale" type: "Scale" bottom: "sum" top: "scale"
  scale_param { bias_term: true } }
layer { name: "up" type: "Deconvolution" bottom: "scale" top: "up"
  convolution_param { num_output: 5 kernel_size: 4 pad: 1 stride: 2 } }
layer { name: "conv8_313" type: "Convolution" bottom: "up" top: "conv8_313"
  convolution_param { num_output: 313 kernel_size: 1 } }
layer { name: "conv8_313_rh" type: "Scale" bottom: "conv8_313" top: "conv8_313_rh"
  scale_param { bias_term: false filler { type: 'constant' value: 1.5 } } }
layer { name: "class8_313_rh" type: "Softmax" bottom: "conv8_313_rh" top: "class8_313_rh" }
layer { name: "class8_ab" type: "Convolution" bottom: "class8_313_rh" top: "class8_ab"
  convolution_param { num_output: 2 kernel_size: 1 } }
layer { name: "quiet" type: "Silence" bottom: "class8_ab" }
"""

SHAPES: dict[str, list[tuple[int, ...]]] = {
    "conv1": [(6, 1, 3, 3), (6,)],
    "conv2": [(8, 3, 3, 3), (8,)],
    "side": [(8, 6, 1, 3)],
    "scale": [(8,), (8,)],
    "up": [(8, 5, 4, 4), (5,)],
    "conv8_313": [(313, 5, 1, 1), (313,)],
}


def weights(seed: int = 0) -> Weights:
    rng = np.random.default_rng(seed)
    blobs: Weights = {
        name: [
            (rng.standard_normal(s) / max(1, np.prod(s[1:])) ** 0.5).astype("f2") for s in shapes
        ]
        for name, shapes in SHAPES.items()
    }
    blobs["conv1"][0] /= 16
    blobs["norm1"] = [
        np.linspace(1, 3, 6).astype("f2"),
        np.linspace(2, 4, 6).astype("f2"),
        np.array([2], "f2"),
    ]
    return {name: [blob.astype("f4") for blob in layer] for name, layer in blobs.items()}


def write(
    folder: Path,
    *,
    prototxt: str = PROTOTXT,
    blobs: Weights | None = None,
    caffemodel_bytes: bytes | None = None,
    encoding: str = "packed",
) -> tuple[Path, Path, Path]:
    """Write the three files of the network, or of a damaged variant."""
    if caffemodel_bytes is None:
        caffemodel_bytes = caffe_writer.encode(weights() if blobs is None else blobs, encoding)
    paths = folder / "small.prototxt", folder / "small.caffemodel"
    paths[0].write_text(prototxt)
    paths[1].write_bytes(caffemodel_bytes)
    return (*paths, CENTERS)


def answer(lightness: Array, blobs: Weights | None = None, scale: float = 1.5) -> Array:
    """Compute the network's ab in float64 with plain loops over kernel taps."""
    w = weights() if blobs is None else blobs
    x = (lightness.astype(np.float64) - 50)[None]
    x = np.maximum(_conv(x, w["conv1"], pad=(1, 1), stride=2), 0)
    mean, variance, factor = (b.astype(np.float64) for b in w["norm1"])
    by = 0 if factor[0] == 0 else 1 / factor[0]
    x = (x - (mean * by)[:, None, None]) / np.sqrt(variance * by + 1e-5)[:, None, None]
    halves = [
        _conv(x[3 * i : 3 * i + 3], [b[4 * i : 4 * i + 4] for b in w["conv2"]], (2, 2), 1, 2)
        for i in range(2)
    ]
    x = np.maximum(np.concatenate(halves), 0) + _conv(x, w["side"], pad=(0, 1))
    x = x * w["scale"][0][:, None, None] + w["scale"][1][:, None, None]
    kernel, bias = w["up"]
    padded = np.zeros((5, 2 * x.shape[1] + 2, 2 * x.shape[2] + 2))
    for i in range(4):
        for j in range(4):
            product = np.einsum("ck,chw->khw", kernel[:, :, i, j].astype(np.float64), x)
            padded[:, i : i + 2 * x.shape[1] : 2, j : j + 2 * x.shape[2] : 2] += product
    x = padded[:, 1:-1, 1:-1] + bias[:, None, None]
    x = _conv(x, w["conv8_313"]) * scale
    x = np.exp(x - x.max(axis=0))
    x /= x.sum(axis=0)
    ab: Array = np.einsum("kc,khw->hwc", np.load(CENTERS).astype(np.float64), x)
    return ab


def _conv(
    x: Array, blobs: list[Array], pad: tuple[int, int] = (0, 0), stride: int = 1, dilation: int = 1
) -> Array:
    kernel = blobs[0].astype(np.float64)
    x = np.pad(x, ((0, 0), (pad[0], pad[0]), (pad[1], pad[1])))
    height = (x.shape[1] - dilation * (kernel.shape[2] - 1) - 1) // stride + 1
    width = (x.shape[2] - dilation * (kernel.shape[3] - 1) - 1) // stride + 1
    out = np.zeros((len(kernel), height, width))
    for i in range(kernel.shape[2]):
        for j in range(kernel.shape[3]):
            rows = slice(i * dilation, i * dilation + stride * (height - 1) + 1, stride)
            columns = slice(j * dilation, j * dilation + stride * (width - 1) + 1, stride)
            out += np.einsum("kc,chw->khw", kernel[:, :, i, j], x[:, rows, columns])
    if len(blobs) > 1:
        out += blobs[1][:, None, None]
    return out
