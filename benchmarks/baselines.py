"""The ways to colour a photo that are timed against each other, behind one small interface.

Each is a class with `network(lightness) -> ab` (the network alone) and `photo(bgr) -> bgr` (the
whole road from an 8-bit picture to one). The peers' photo roads are the recipe that tutorials and
OpenCV's own sample show.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
THREADS = 2


class Files(NamedTuple):
    """One model in the forms that the contestants read, and its own 1/T and input size."""

    prototxt: Path
    caffemodel: Path
    centers: Path
    onnx: Path  # the plain network, made with the onnx package from the same weights
    weights: Path  # the same weights by name, for PyTorch
    size: int


class Recipe:
    """What everybody copies: float32 Lab at full size around a network."""

    size = 224
    run: Callable[[Array], Array]

    def network(self, lightness: Array) -> Array:
        return self.run((lightness - 50)[None, None])[0].transpose(1, 2, 0)

    def photo(self, bgr: Array) -> Array:
        lab = cv2.cvtColor(bgr.astype(np.float32) / 255, cv2.COLOR_BGR2LAB)
        small = cv2.resize(cv2.split(lab)[0], (self.size, self.size))
        ab = self.network(small)
        ab = cv2.resize(ab, bgr.shape[1::-1])
        lab = np.concatenate((cv2.split(lab)[0][:, :, np.newaxis], ab), axis=2)
        return (255 * np.clip(cv2.cvtColor(lab, cv2.COLOR_LAB2BGR), 0, 1)).astype(np.uint8)

    def files(self, paths: list[Path], folder: Path) -> None:
        for path in paths:
            cv2.imwrite(str(folder / path.name), self.photo(cv2.imread(str(path))))


class Caffe(Recipe):
    """The recipe itself: OpenCV 4's Caffe importer with injected blobs."""

    def __init__(self, files: Files) -> None:
        self.size = files.size
        net = cv2.dnn.readNetFromCaffe(str(files.prototxt), str(files.caffemodel))
        centers = np.load(files.centers).T.reshape(2, 313, 1, 1).astype(np.float32)
        net.getLayer(net.getLayerId("class8_ab")).blobs = [centers]
        scale = np.full((1, 313), 2.606, np.float32)
        net.getLayer(net.getLayerId("conv8_313_rh")).blobs = [scale]
        self.net = net

    def run(self, blob: Array) -> Array:  # type: ignore[override]
        self.net.setInput(blob)
        return self.net.forward()


class PlainOnnx(Recipe):
    """The plain network as an ONNX file, on this OpenCV's default engine."""

    def __init__(self, files: Files) -> None:
        self.size = files.size
        self.net = cv2.dnn.readNetFromONNX(str(files.onnx))

    def run(self, blob: Array) -> Array:  # type: ignore[override]
        self.net.setInput(blob)
        return self.net.forward()


class OnnxRuntime(Recipe):
    """The plain network on ONNX Runtime's CPU provider."""

    def __init__(self, files: Files) -> None:
        import onnxruntime

        self.size = files.size
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(
            str(files.onnx), options, providers=["CPUExecutionProvider"]
        )

    def run(self, blob: Array) -> Array:  # type: ignore[override]
        return self.session.run(None, {"data_l": blob})[0]


class PyTorch(Recipe):
    """The same network in PyTorch, eager, as the authors' own port runs it."""

    def __init__(self, files: Files) -> None:
        import torch
        from torch.nn import functional

        from tests.reference.onnx_reference import CONVOLUTIONS

        torch.set_num_threads(THREADS)
        stored = np.load(files.weights)
        weights = {name: torch.from_numpy(stored[name]) for name in stored.files}
        centers = torch.from_numpy(np.load(files.centers).T.astype(np.float32).copy())

        def forward(blob: Array) -> Array:
            with torch.inference_mode():
                x = torch.from_numpy(blob)
                for conv in CONVOLUTIONS:
                    kernel, bias = weights[f"{conv.name}.0"], weights[f"{conv.name}.1"]
                    if conv.stride < 0:
                        x = functional.conv_transpose2d(x, kernel, bias, stride=2, padding=1)
                    else:
                        pad = conv.dilation * (conv.kernel // 2)
                        x = functional.conv2d(x, kernel, bias, conv.stride, pad, conv.dilation)
                    if conv.relu:
                        x = functional.relu(x)
                    if conv.norm:
                        mean, variance, factor = (
                            weights[f"{conv.name}norm.{index}"] for index in range(3)
                        )
                        x = functional.batch_norm(x, mean / factor, variance / factor)
                x = functional.softmax(x * 2.606, dim=1)
                return functional.conv2d(x, centers[:, :, None, None]).numpy()

        self.run = forward


class Ours:
    """colorcv itself, with the recipe's weights."""

    def __init__(self, files: Files, low_memory: bool = False) -> None:
        import colorcv

        model = colorcv.ModelFiles(
            prototxt=files.prototxt, caffemodel=files.caffemodel, centers=files.centers
        )
        self.colorizer = colorcv.Colorizer(model, device="cpu", low_memory=low_memory)

    def network(self, lightness: Array) -> Array:
        return self.colorizer.predict_ab(lightness)

    def photo(self, bgr: Array) -> Array:
        return self.colorizer.colorize(bgr)

    def files(self, paths: list[Path], folder: Path) -> None:
        """As the command does it: two pictures at a time."""
        from colorcv._parallel import ordered_map
        from colorcv.image.io import read_image, write_image

        def one(path: Path) -> None:
            photo = read_image(path)
            result = self.colorizer.colorize(photo.pixels)
            write_image(folder / path.name, result, photo.metadata, overwrite=True)

        list(ordered_map(one, paths, 2, name="files"))


def low_memory(files: Files) -> Ours:
    """colorcv with the smallest peak."""
    return Ours(files, low_memory=True)


CONTESTANTS: dict[str, Callable[[Files], Any]] = {
    "colorcv": Ours,
    "colorcv, low_memory": low_memory,
    "recipe (readNetFromCaffe)": Caffe,
    "plain ONNX in OpenCV": PlainOnnx,
    "ONNX Runtime": OnnxRuntime,
    "PyTorch eager": PyTorch,
}
