"""Fuzz targets: functions that make and run an input, and the error it may raise."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from colorcv import network
from colorcv.errors import ImageError, ModelFormatError, VideoError
from colorcv.image.decoding import decode_image
from colorcv.image.metadata import embed, extract, for_output
from colorcv.network.caffe import caffemodel, centers, importer, prototxt
from tests.fuzz import videos
from tests.fuzz.images import mutate_image, seeds
from tests.fuzz.messages import mutate_message
from tests.fuzz.mutate import mutate_bytes, mutate_text
from tests.fuzz.onnx_models import make_onnx, mutate_onnx, run_onnx
from tests.fuzz.seeds import TINY, random_network, tiny_weights
from tests.fuzz.videos import run_video
from tests.reference import caffe_writer, small

__all__ = ["TARGETS", "Target"]

# Which fields of a caffemodel are messages: layers, their blobs, the blobs' shapes.
_MESSAGES = {100: {7: {7: {}}}}


@dataclass(frozen=True)
class Target:
    """`make` draws an input, `run` reads it from a file and may raise only `allowed`.

    `run` returns the bytes of a large result, for which more memory and time are allowed, or None.

    For guided runs: `instrumented` modules, and `mutate`, which changes a given input.
    """

    make: Callable[[random.Random], bytes]
    run: Callable[[Path], Any]
    allowed: type[Exception]
    instrumented: Sequence[str] = ()
    mutate: Callable[[random.Random, bytes], bytes] | None = None


@cache
def _caffemodels() -> list[bytes]:
    return [caffe_writer.encode(tiny_weights(), encoding) for encoding in caffe_writer.ENCODINGS]


@cache
def _tiny_net() -> prototxt.Message:
    return prototxt.parse(TINY, "tiny.prototxt")


@cache
def _centers() -> Any:
    return centers.read(small.CENTERS)


@cache
def _blobs() -> dict[str, list[caffemodel.Blob]]:
    return {
        name: [caffemodel.Blob(b.shape, b.reshape(-1)) for b in blobs]
        for name, blobs in tiny_weights().items()
    }


def _run_caffemodel(path: Path) -> None:
    blobs = caffemodel.read(path)
    size = path.stat().st_size
    assert sum(b.values.nbytes for many in blobs.values() for b in many) <= 2 * size
    graph = importer.build(_tiny_net(), blobs, _centers(), weights_file="tiny.caffemodel")
    assert all(np.isfinite(value.array()).all() for _, value in graph.used_constants())


def _run_prototxt(path: Path) -> None:
    graph = importer.build(
        prototxt.read(path), _blobs(), _centers(), weights_file="tiny.caffemodel"
    )
    made = {graph.input}
    for node in graph.nodes:
        assert made.union(graph.constants, ("",)).issuperset(node.inputs)
        assert min(node.shape) > 0
        made.add(node.name)
    assert graph.output in made


def _make_prototxt(rng: random.Random) -> bytes:
    text = mutate_text(rng, TINY if rng.random() < 0.9 else small.PROTOTXT)
    data = text.encode("utf-8", "surrogateescape")
    return mutate_bytes(rng, data) if rng.random() < 0.1 else data


def _make_network(rng: random.Random) -> bytes:
    """Return a prototxt and its caffemodel in one file, the text first."""
    text, weights = random_network(rng)
    if rng.random() < 0.3:
        text = mutate_text(rng, text)
    with np.errstate(over="ignore"):
        model = caffe_writer.encode(weights, rng.choice(("packed", "half", "unpacked")))
    if rng.random() < 0.2:
        model = mutate_message(rng, model, _MESSAGES)
    return text.encode() + b"\0\0" + model


def _run_network(path: Path) -> None:
    """Load and run it; tests/network/test_importer_fuzz.py checks the answers."""
    text, _, model = path.read_bytes().partition(b"\0\0")
    files = path.with_suffix(".prototxt"), path.with_suffix(".caffemodel")
    for file, content in zip(files, (text, model), strict=True):
        file.write_bytes(content)
    graph = importer.build(
        prototxt.read(files[0]), caffemodel.read(files[1]), _centers(), weights_file=str(files[1])
    )
    # A small file may describe a large network, which is slow; other tests bound it.
    if sum(np.prod(node.shape) for node in graph.nodes) > 3_000_000:
        return
    net = network.load(*files, small.CENTERS, device="cpu")
    assert net.predict_ab(caffe_writer.sample_lightness(net.input_hw)).shape == (*net.output_hw, 2)


def _make_centers(rng: random.Random) -> bytes:
    return mutate_bytes(rng, small.CENTERS.read_bytes())


def _make_image(rng: random.Random) -> bytes:
    return mutate_image(rng, rng.choice(seeds()))


def _make_video(rng: random.Random) -> bytes:
    return mutate_bytes(rng, rng.choice(videos.corpus()))


def _run_image(path: Path) -> int:
    from colorcv.image.source import SourceImage

    pixels = decode_image(path.read_bytes(), "fuzzed").pixels
    if pixels.size > 1_000_000:
        return pixels.nbytes
    image = SourceImage(pixels)
    assert np.isfinite(image.lightness_at((16, 24))).all()
    colored = image.colored(np.full((4, 6, 2), 30, np.float32))
    assert colored.shape[:2] == pixels.shape[:2]
    return pixels.nbytes


def _run_metadata(path: Path) -> None:
    metadata = for_output(extract(path.read_bytes()))
    for file in _hosts():
        embed(file, metadata)


@cache
def _hosts() -> list[bytes]:
    import cv2

    image = np.zeros((2, 2, 3), np.uint8)
    return [cv2.imencode(s, image)[1].tobytes() for s in (".png", ".jpg")]


_NETWORK = [
    f"colorcv.network.{module}"
    for module in (
        "protobuf",
        "caffe.caffemodel",
        "caffe.prototxt",
        "caffe.importer",
        "caffe.layers",
        "caffe.centers",
    )
]

TARGETS = {
    "caffemodel": Target(
        lambda rng: mutate_message(rng, rng.choice(_caffemodels()), _MESSAGES),
        _run_caffemodel,
        ModelFormatError,
        _NETWORK,
        lambda rng, data: mutate_message(rng, data, _MESSAGES),
    ),
    "prototxt": Target(
        _make_prototxt,
        _run_prototxt,
        ModelFormatError,
        _NETWORK,
        lambda rng, data: mutate_text(rng, data.decode()).encode(),
    ),
    "centers": Target(_make_centers, lambda path: centers.read(path), ModelFormatError, _NETWORK),
    "onnx": Target(
        make_onnx,
        run_onnx,
        ModelFormatError,
        [f"colorcv.network.onnx_import.{module}" for module in ("model", "tensors", "importer")],
        mutate_onnx,
    ),
    "network": Target(_make_network, _run_network, ModelFormatError),
    "image": Target(_make_image, _run_image, ImageError),
    "video": Target(_make_video, run_video, VideoError),
    "metadata": Target(_make_image, _run_metadata, ImageError, ("colorcv.image.metadata",)),
}
