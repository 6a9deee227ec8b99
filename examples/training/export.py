"""Export a training's state to the files that colorcv runs.

    python -m examples.training.export STATE... DIR [--name mine] [--lightness GOLDEN.npz]

Of several states the mean of the weights is exported: of trainings from the same weights with
different --seed it is often nearer than each of them (Wortsman et al., "Model soups", ICML 2022).

DIR gets NAME.prototxt, NAME.caffemodel (float16) and pts_in_hull.npy, which
`colorcv.ModelFiles` takes, and golden.npz: lightness of held-out photos and PyTorch's ab for them,
from the weights as written. The output of colorcv is compared with it at once.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import numpy as np
import torch

import colorcv

from .loss import annealed_mean
from .network import HEAD, Network

TOLERANCE = 0.05  # in ab, of a range of +-110
FLOAT16 = 2  # raw_data_type of OpenCV's caffe.proto


def encode(layers: dict[str, list[np.ndarray]]) -> bytes:
    """Encode layers' blobs as a NetParameter of OpenCV's caffe.proto, in half precision.

    Field numbers: NetParameter name 1, layer 100; LayerParameter name 1, type 2, blobs 7;
    BlobProto shape 7 (dim 1, packed), raw_data_type 10, raw_data 12.
    """
    out = [_field(1, b"colorcv")]
    for name, blobs in layers.items():
        layer = _field(1, name.encode()) + _field(2, b"Convolution")
        for blob in blobs:
            dims = b"".join(_varint(dim) for dim in blob.shape)
            data = _field(7, _field(1, dims)) + _varint(10 << 3) + _varint(FLOAT16)
            layer += _field(7, data + _field(12, blob.astype("<f2").tobytes()))
        out.append(_field(100, layer))
    return b"".join(out)


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def prototxt_for(text: str, size: int, temperature: float) -> str:
    """Return a prototxt with another input size and another T."""
    dims = re.compile(r"(input_param\s*\{\s*shape\s*\{\s*(?:dim:\s*1\s+){2})(?:dim:\s*\d+\s*){2}")
    text, inputs = dims.subn(rf"\g<1>dim: {size} dim: {size} ", text)
    scale = re.compile(rf'(name:\s*"{HEAD}_rh".*?value:\s*)[0-9.]+', re.DOTALL)
    text, fillers = scale.subn(rf"\g<1>{1 / temperature:.6g}", text, count=1)
    if (inputs, fillers) != (1, 1):
        raise ValueError("the prototxt has no input of one channel, or no filler of the scale")
    return text


def load_mean(paths: list[Path]) -> dict:
    """Return the first training's state with the mean of all trainings' weights."""
    states = [torch.load(path, map_location="cpu", weights_only=True) for path in paths]
    first = states[0]
    for path, state in zip(paths, states, strict=True):
        if state["prototxt"] != first["prototxt"] or state["temperature"] != first["temperature"]:
            raise ValueError(f"{path} is of another network or temperature than {paths[0]}")
    first["ema"] = {
        name: torch.stack([state["ema"][name].float() for state in states]).mean(dim=0)
        for name in first["ema"]
    }
    return first


def export(paths: list[Path], folder: Path, name: str, lightness: np.ndarray | None) -> float:
    """Write the files; return the largest difference of colorcv's ab from PyTorch's.

    Parameters
    ----------
    paths : list of Path
        One or more trainings' state.pt, of which the mean is taken.
    folder : Path
        Created if it does not exist; files in it are replaced.
    name : str
        Name of the prototxt and the caffemodel, without suffix.
    lightness : (N, S, S) float32, L* in 0..100, optional
        For the golden vectors, in place of that of the held-out photos in the state.
    """
    state = load_mean(paths)
    network = Network(state["prototxt"])
    network.load_named(state["ema"])
    size, temperature = state["input_size"], state["temperature"]
    centers = state["centers"].numpy()
    folder.mkdir(parents=True, exist_ok=True)
    layers: dict[str, list[np.ndarray]] = {}
    for layer, module in network.convolutions.items():
        for parameter in module.parameters():
            half = parameter.detach().half()
            if not torch.isfinite(half).all():
                raise ValueError(f"layer {layer!r} has weights beyond what float16 holds")
            parameter.data = half.float()  # the golden ab is that of the weights as written
            layers.setdefault(layer, []).append(half.numpy())
    files = colorcv.ModelFiles(
        prototxt=folder / f"{name}.prototxt",
        caffemodel=folder / f"{name}.caffemodel",
        centers=folder / "pts_in_hull.npy",
    )
    files.prototxt.write_text(prototxt_for(state["prototxt"], size, temperature), encoding="utf-8")
    files.caffemodel.write_bytes(encode(layers))
    np.save(files.centers, centers.astype(np.int64) if (centers % 1 == 0).all() else centers)
    if lightness is None:
        lightness = state["lightness"].numpy()
    with torch.inference_mode():
        inputs = torch.from_numpy(lightness.astype(np.float32))[:, None] - 50
        ab = annealed_mean(network(inputs), torch.from_numpy(centers), temperature).numpy()
    np.savez_compressed(folder / "golden.npz", lightness=lightness, ab=ab)
    colorizer = colorcv.Colorizer(files, device="cpu")
    found = [colorizer.predict_ab(plane) for plane in lightness]
    return float(np.abs(np.stack(found) - ab).max())


def main(arguments: list[str] | None = None) -> int:
    """Export; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m examples.training.export",
                                     description="Write the files that colorcv runs.")  # fmt: skip
    parser.add_argument("states", type=Path, nargs="+", metavar="state",
                        help="a training's state.pt; of several the mean is taken")  # fmt: skip
    parser.add_argument("folder", type=Path, help="where the files go")
    parser.add_argument("--name", default="model", help="of the files, without suffix")
    parser.add_argument("--lightness", type=Path, help="an .npz with lightness for golden.npz")
    options = parser.parse_args(arguments)
    lightness = None
    if options.lightness:
        with np.load(options.lightness) as given:
            lightness = given["lightness"]
    try:
        off = export(options.states, options.folder, options.name, lightness)
    except (OSError, ValueError) as err:
        print(f"error: {err}", file=sys.stderr)
        return 2
    print(f"{options.folder}: colorcv is within {off:.4f} in ab of PyTorch")
    if off > TOLERANCE:
        print(f"error: that is more than {TOLERANCE}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
