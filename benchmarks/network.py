"""The forms of the network's graph against each other, on the OpenCV at hand.

    python -m benchmarks.network [--model zhang|lite] [--rounds N] [FORM ...]

This is what the rows of colorcv/network/profiles.py rest on. All forms run in one process and take
turns, so that whatever else the machine does hits them alike; the figures to read are the ratios.
The full-size network has seeded weights (tests/reference/caffe_writer.py), which cost as much time
as real ones. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import colorcv
from colorcv.network import onnx, profiles
from colorcv.network.caffe import caffemodel, centers, importer, prototxt
from colorcv.network.graph import Graph, Node
from colorcv.network.rewrites.dilation import space_to_batch_tiled, space_to_batch_winograd
from colorcv.network.rewrites.head import head_to_gemm
from colorcv.network.rewrites.winograd import winograd
from tests.reference import caffe_writer

Rewrite = Callable[[Graph], Graph]
DATA = caffe_writer.DATA
LITE = Path(colorcv.__file__).parent / "models" / "lite"


def chain(*rewrites: Rewrite) -> Rewrite:
    """Return the rewrites one after the other as one."""

    def rewrite(graph: Graph) -> Graph:
        for step in rewrites:
            graph = step(graph)
        return graph

    return rewrite


def products(least: int, *, halved: int = 1 << 30) -> Rewrite:
    """Say layers of at least so many channels as products; those of stride 2 from `halved` on."""

    def wanted(node: Node, channels: int) -> bool:
        if node.op == "ConvTranspose":
            return True
        return channels >= (least if node.integers("strides") == (1, 1) else halved)

    return chain(space_to_batch_winograd, winograd(wanted))


VARIANTS: dict[str, Rewrite] = {
    "plain": chain(),
    "chosen": profiles.select_profile("cpu", low_memory=False).rewrite,
    "space_to_batch_tiled": space_to_batch_tiled,
    "head as products": head_to_gemm,
    "products from 32 channels": products(32),
    "products from 64 channels": products(64),
    "products from 128 channels": products(128),
    "products from 256 channels": products(256),
    "products from 96, stride 2 from 256": products(96, halved=256),
    "products from 96, stride 2 from 128": products(96, halved=128),
    "deconvolutions only as products": winograd(lambda node, _: node.op == "ConvTranspose"),
}


def lite() -> Graph:
    """Return the bundled model's plain graph."""
    return importer.build(
        prototxt.read(LITE / "colorcv_lite_v2.prototxt"),
        caffemodel.read(LITE / "colorcv_lite_v2.caffemodel"),
        centers.read(LITE / "pts_in_hull.npy"),
        weights_file="colorcv_lite_v2.caffemodel",
    )


def zhang(folder: Path) -> Graph:
    """Return the plain graph of the full-size network, with seeded weights."""
    weights = folder / "seeded.caffemodel"
    caffe_writer.write(weights, caffe_writer.seeded_weights())
    return importer.build(
        prototxt.read(DATA / "colorization_deploy_v2.prototxt"),
        caffemodel.read(weights),
        centers.read(DATA / "pts_in_hull.npy"),
        weights_file=str(weights),
    )


def main() -> None:
    """Time the forms and print the table."""
    parser = argparse.ArgumentParser(description="Time the forms of the network's graph.")
    parser.add_argument("forms", nargs="*", metavar="FORM", help=", ".join(VARIANTS))
    parser.add_argument("--model", choices=("zhang", "lite"), default="zhang")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    cv2.setNumThreads(2)
    with tempfile.TemporaryDirectory() as folder:
        graph = lite() if options.model == "lite" else zhang(Path(folder))
        nets: dict[str, Any] = {}
        for name in dict.fromkeys(["plain", *(options.forms or VARIANTS)]):
            try:
                nets[name] = cv2.dnn.readNetFromONNX(onnx.encode(VARIANTS[name](graph)))
            except cv2.error as err:
                print(f"- {name}: refused by this OpenCV ({str(err).strip()[:80]})")
        lightness = caffe_writer.sample_lightness(graph.input_shape[2:], seed=3)  # type: ignore[arg-type]
    blob = (lightness - 50)[None, None]
    times: dict[str, list[float]] = {name: [] for name in nets}
    answers = {}
    for turn in range(options.rounds + 2):
        for name, net in nets.items():
            net.setInput(blob)
            begun = time.perf_counter()
            answers[name] = net.forward().copy()
            if turn > 1:
                times[name].append((time.perf_counter() - begun) * 1e3)
    ratios = {
        name: [plain / own for plain, own in zip(times["plain"], found, strict=True)]
        for name, found in times.items()
    }
    print(f"OpenCV {cv2.__version__}, {options.model}, 2 threads, {options.rounds} rounds\n")
    print("| form | median ms | least ms | times as fast as plain | off by, in ab |")
    print("|---|---|---|---|---|")
    for name, found in times.items():
        off = float(np.abs(answers[name] - answers["plain"]).max())
        print(
            f"| {name} | {statistics.median(found):.1f} | {min(found):.1f} "
            f"| {statistics.median(ratios[name]):.2f} | {off:.4f} |"
        )


if __name__ == "__main__":
    main()
