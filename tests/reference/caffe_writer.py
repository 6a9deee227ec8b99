"""Write caffemodels: a network of zhang2016's size with seeded weights, in any encoding.

Independent of colorcv/network/protobuf.py.

    python -m tests.reference.caffe_writer OUT.caffemodel [ENCODING]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.reference.onnx_reference import CONVOLUTIONS, build, run

Array = npt.NDArray[Any]
Weights = dict[str, list[Array]]

ENCODINGS = ("packed", "unpacked", "old-shape", "double", "half")
SCALE = 2.606
DATA = Path(__file__).parents[1] / "data"


def sample_lightness(size: tuple[int, int] = (224, 224), seed: int = 0) -> Array:
    """Return a lightness with shading, shapes, edges and grain: (H, W) float32, 0..100."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: size[0], : size[1]] / max(size)
    light = 40 + 35 * np.sin(7 * rows + seed) * np.cos(5 * columns)
    for _ in range(12):
        y, x, radius = rng.random(3) * (1, 1, 0.25)
        light[(rows - y) ** 2 + (columns - x) ** 2 < radius**2] += rng.normal(0, 25)
    light += rng.normal(0, 2, size)
    return np.clip(light, 0, 100).astype(np.float32)


def seeded_weights(seed: int = 0) -> Weights:
    """Return weights for which the output uses the range of ab and depends on the image.

    Kernels are scaled by their fan-in; the BatchNorms hold the statistics of one image. All values
    are exact in float16, so that every encoding of them is equal.
    """
    rng = np.random.default_rng(seed)
    weights: Weights = {}
    for conv in CONVOLUTIONS:
        taps = 4 if conv.stride < 0 else conv.kernel**2
        scale = (1 / (9 * 400) if conv.inputs == 1 else 1.8 / (conv.inputs * taps)) ** 0.5
        scale *= 0.9 if conv.name == "conv8_313" else 1
        fan = (conv.inputs, conv.outputs) if conv.stride < 0 else (conv.outputs, conv.inputs)
        kernel = rng.standard_normal((*fan, conv.kernel, conv.kernel), np.float32) * scale
        bias = rng.standard_normal(conv.outputs, np.float32) * 0.1
        weights[conv.name] = [kernel.astype(np.float16), bias.astype(np.float16)]
    centers = np.load(DATA / "pts_in_hull.npy").astype(np.float32)
    stats = run(build(weights, centers, SCALE, calibrate=True), sample_lightness())[1:]
    norms = [conv for conv in CONVOLUTIONS if conv.norm]
    for index, conv in enumerate(norms):
        mean, square = (s.reshape(-1).astype(np.float64) for s in stats[2 * index : 2 * index + 2])
        # Caffe stores sums and their weight; weights other than 1 test the division by it.
        factor = np.array([2.0 ** (index - 1)], np.float16)
        variance = np.maximum(square - mean**2, 0.02)
        blobs = [mean * factor, variance * factor, factor]
        weights[f"{conv.name}norm"] = [blob.astype(np.float16) for blob in blobs]
    return {name: [blob.astype(np.float32) for blob in blobs] for name, blobs in weights.items()}


def write(path: Path, weights: Mapping[str, Sequence[Array]], encoding: str = "packed") -> None:
    """Write weights as a caffemodel, in one of `ENCODINGS`."""
    with path.open("wb") as file:
        file.write(_bytes(1, b"seeded"))
        for name, blobs in weights.items():
            layer = [_bytes(1, name.encode()), _bytes(2, b"Any")]
            for blob in blobs:
                layer += _chunks(7, list(_blob(blob, encoding)))
            for chunk in _chunks(100, layer):
                file.write(chunk)


def encode(weights: Mapping[str, Sequence[Array]], encoding: str = "packed") -> bytes:
    """Return a small caffemodel as bytes."""
    out = b""
    for name, blobs in weights.items():
        layer = [_bytes(1, name.encode()), _bytes(2, b"Any")]
        for blob in blobs:
            layer += _chunks(7, list(_blob(blob, encoding)))
        out += b"".join(_chunks(100, layer))
    return out


def _blob(blob: Array, encoding: str) -> Iterator[bytes]:
    if encoding in ("unpacked", "old-shape"):
        for number, dim in enumerate((1, 1, 1, 1, *blob.shape)[-4:], 1):
            yield _varint(number << 3) + _varint(dim)
    else:
        packed = encoding == "packed"
        dims = b"".join((b"" if packed else b"\x08") + _varint(dim) for dim in blob.shape)
        yield _bytes(7, _bytes(1, dims) if packed else dims)
    if encoding == "unpacked":
        records = np.empty(blob.size, [("key", "u1"), ("value", "<f4")])
        records["key"], records["value"] = 5 << 3 | 5, blob.reshape(-1)
        yield records.tobytes()
    elif encoding == "double":
        yield _bytes(8, blob.astype("<f8").tobytes())
    elif encoding == "half":
        yield _varint(10 << 3) + _varint(2)
        yield _bytes(12, blob.astype("<f2").tobytes())
    else:
        yield _bytes(5, blob.astype("<f4").tobytes())


def _chunks(number: int, chunks: list[bytes]) -> list[bytes]:
    return [_varint(number << 3 | 2) + _varint(sum(map(len, chunks))), *chunks]


def _bytes(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


if __name__ == "__main__":
    write(Path(sys.argv[1]), seeded_weights(), *sys.argv[2:3])
