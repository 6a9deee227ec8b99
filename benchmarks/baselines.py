"""Ways to colour a photo, behind one interface, to be timed against each other.

Each is a class with `network(lightness) -> ab` (the network alone), `photo(bgr) -> bgr` (8-bit
array to 8-bit array) and `files(paths, folder)`. The peers colour a photo as tutorials and
OpenCV's own sample show.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.harness import THREADS, BenchmarkModel

Array = npt.NDArray[Any]


class TutorialPipeline:
    """The code that tutorials share: conversion in float32 Lab at full size around a network."""

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


class Caffe(TutorialPipeline):
    """The tutorials themselves: OpenCV 4's Caffe importer with injected blobs."""

    def __init__(self, model: BenchmarkModel) -> None:
        self.size = model.size
        net = cv2.dnn.readNetFromCaffe(str(model.prototxt), str(model.caffemodel))
        centers = np.load(model.centers).T.reshape(2, 313, 1, 1).astype(np.float32)
        net.getLayer(net.getLayerId("class8_ab")).blobs = [centers]
        scale = np.full((1, 313), 2.606, np.float32)
        net.getLayer(net.getLayerId("conv8_313_rh")).blobs = [scale]
        self.net = net

    def run(self, blob: Array) -> Array:  # type: ignore[override]
        self.net.setInput(blob)
        return self.net.forward()


class PlainOnnx(TutorialPipeline):
    """The plain network as an ONNX file, on this OpenCV's default engine."""

    def __init__(self, model: BenchmarkModel) -> None:
        self.size = model.size
        self.net = cv2.dnn.readNetFromONNX(str(model.onnx))

    def run(self, blob: Array) -> Array:  # type: ignore[override]
        self.net.setInput(blob)
        return self.net.forward()


class OnnxRuntime(TutorialPipeline):
    """The plain network on ONNX Runtime's CPU provider."""

    def __init__(self, model: BenchmarkModel) -> None:
        import onnxruntime

        self.size = model.size
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(
            str(model.onnx), options, providers=["CPUExecutionProvider"]
        )

    def run(self, blob: Array) -> Array:  # type: ignore[override]
        return self.session.run(None, {"data_l": blob})[0]


class PyTorch(TutorialPipeline):
    """The same network in PyTorch, eager, as the authors' own port runs it."""

    def __init__(self, model: BenchmarkModel) -> None:
        import torch
        from torch.nn import functional

        from tests.reference.onnx_reference import CONVOLUTIONS

        torch.set_num_threads(THREADS)
        stored = np.load(model.weights)
        weights = {name: torch.from_numpy(stored[name]) for name in stored.files}
        centers = torch.from_numpy(np.load(model.centers).T.astype(np.float32).copy())

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


class Colorcv:
    """colorcv, with the same weights."""

    def __init__(self, model: BenchmarkModel, memory: Any = "auto") -> None:
        import colorcv

        files = colorcv.ModelFiles(
            prototxt=model.prototxt, caffemodel=model.caffemodel, centers=model.centers
        )
        self.colorizer = colorcv.Colorizer(files, device="cpu", memory=memory)

    def network(self, lightness: Array) -> Array:
        return self.colorizer.predict_ab(lightness)

    def photo(self, bgr: Array) -> Array:
        return self.colorizer.colorize(bgr)

    def files(self, paths: list[Path], folder: Path) -> None:
        """Colour files as `colorcv image` does, two at a time."""
        from colorcv._parallel import ordered_map
        from colorcv.image.io import read_image, write_image

        def colorize_file(path: Path) -> None:
            image = read_image(path)
            result = self.colorizer.colorize(image.pixels)
            write_image(folder / path.name, result, image.metadata, overwrite=True)

        list(ordered_map(colorize_file, paths, 2, name="files"))


FORMS = ("fast", "balanced", "low")
BASELINES: dict[str, Callable[[BenchmarkModel], Any]] = {
    "colorcv": Colorcv,
    **{f"colorcv, {form}": partial(Colorcv, memory=form) for form in FORMS},
    "tutorial (readNetFromCaffe)": Caffe,
    "plain ONNX in OpenCV": PlainOnnx,
    "ONNX Runtime": OnnxRuntime,
    "PyTorch eager": PyTorch,
}
