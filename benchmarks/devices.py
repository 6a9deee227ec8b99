"""Compare the devices of one machine: its CPU, CUDA, CUDA in half precision.

    python -m benchmarks.devices [--device NAME ...] [--model NAME ...] [--rounds N]

Without --device, all devices that `colorcv info` lists as available, except OpenCL. The CPU uses
all its threads, and the others are compared with it. The full-size network has seeded weights.
Videos need PyAV. Prints Markdown, or appends it to the file of --output: the network alone in each
variant of its graph, images in batches, photos and videos end to end, and the network's share.
"""

from __future__ import annotations

import argparse
import importlib.util
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np

import colorcv
from benchmarks import network
from benchmarks.harness import (
    PHOTO,
    SIZES_WH,
    machine,
    markdown_table,
    speedup,
    time_interleaved,
)
from colorcv.network import device, loading, profiles
from colorcv.network.graph import Graph
from tests.reference import caffe_writer

BATCHES = (1, 4, 16)
WARM_UP = 2  # rounds that are not counted: CUDA tunes itself at first
VIDEO_WH = (1280, 720)
VARIANTS: dict[str, Callable[[Graph], Graph]] = {
    "plain": profiles.DEFAULT_PROFILE.rewrite,
    "fast profile of OpenCV 4": profiles.PROFILES[0].fast.rewrite,
    "fast profile of OpenCV 5": profiles.PROFILES[1].fast.rewrite,
}


def run_once(net: cv2.dnn.Net, blob: Any) -> Any:
    """Run one forward; its output is in main memory when this returns."""
    net.setInput(blob)
    return net.forward()


def variants(graph: Graph, names: list[str], rounds: int) -> str:
    """Return the table of the network alone: each variant of its graph on each device."""
    lightness = caffe_writer.sample_lightness(graph.input_shape[2:], seed=3)  # type: ignore[arg-type]
    blob = (lightness - 50)[None, None]
    labels, functions, rejected = [], [], []
    for name in names:
        for variant, rewrite in VARIANTS.items():
            try:
                net = loading.load_net(partial(rewrite, graph), name)
                run_once(net, blob)
            except (cv2.error, colorcv.DeviceError) as err:
                rejected.append(
                    f"Rejected: {variant} on {name}: {' '.join(str(err).split())[:160]}\n"
                )
                continue
            labels.append((name, variant))
            functions.append(partial(run_once, net, blob))
    times = time_interleaved(functions, rounds, warm_up=WARM_UP)
    answers = [function()[0] for function in functions]
    chosen = profiles.select_profile("cpu", "fast").rewrite
    on_cpu = [i for i, (name, _) in enumerate(labels) if name == names[0]]
    base = next((i for i in on_cpu if VARIANTS[labels[i][1]] == chosen), on_cpu[0])
    rows = [
        [
            *label,
            f"{median(own):.2f}",
            f"{speedup(own, times[base]):.2f}",
            f"{np.abs(answer - answers[on_cpu[0]]).max():.4f}",
        ]
        for label, own, answer in zip(labels, times, answers, strict=True)
    ]
    head = [
        "device",
        "graph",
        "ms",
        f"times as fast as {' '.join(labels[base])}",
        "max difference in ab",
    ]
    return "\n".join([markdown_table(head, rows), *rejected])


def batches(graph: Graph, names: list[str], rounds: int) -> str:
    """Return the table of the plain network on several images at once; ms per image."""
    height, width = graph.input_shape[2:]
    several = np.random.default_rng(0).uniform(-50, 50, (max(BATCHES), 1, height, width))
    several = several.astype(np.float32)
    rows = []
    for name in names:
        # One network for each size: with a new size, OpenCV sets up a network again.
        nets = [loading.load_net(lambda: graph, name) for _ in BATCHES]
        functions = [
            partial(run_once, net, several[:count])
            for net, count in zip(nets, BATCHES, strict=True)
        ]
        times = time_interleaved(functions, rounds, warm_up=WARM_UP)
        each = (median(own) / count for own, count in zip(times, BATCHES, strict=True))
        rows.append([name, *(f"{ms:.2f}" for ms in each)])
    return markdown_table(["device", *(f"{count} at once" for count in BATCHES)], rows)


def photos(colorizers: dict[str, colorcv.Colorizer], rounds: int) -> str:
    """Return the table of photos from array to array, and the network's share."""
    photo: Any = cv2.imread(str(PHOTO))
    rows = []
    for size_wh in SIZES_WH:
        size = f"{size_wh[0]} × {size_wh[1]}"
        image = cv2.resize(photo, size_wh, interpolation=cv2.INTER_CUBIC)
        functions: list[Callable[[], Any]] = []
        for colorizer in colorizers.values():
            lightness = caffe_writer.sample_lightness(colorizer.input_hw, seed=3)
            functions += [
                partial(colorizer.colorize, image),
                partial(colorizer.predict_ab, lightness),
            ]
        times = time_interleaved(functions, rounds, warm_up=WARM_UP)
        for index, name in enumerate(colorizers):
            total_ms, network_ms = (median(own) for own in times[2 * index : 2 * index + 2])
            faster = speedup(times[2 * index], times[0])
            share = f"{100 * network_ms / total_ms:.0f} %"
            rows.append([size, name, f"{total_ms:.1f}", f"{faster:.2f}", share])
    first = next(iter(colorizers))
    header = ["pixels", "device", "ms", f"times as fast as {first}", "network's part"]
    return markdown_table(header, rows)


def videos(colorizers: dict[str, colorcv.Colorizer], frames: int, folder: Path) -> str:
    """Return the table of a video from file to file: all key frames, and every eighth."""
    from benchmarks.video import bgr_frames, write_video
    from colorcv.video.api import colorize_video

    video = folder / "video.mp4"
    write_video(video, bgr_frames(None, VIDEO_WH, frames))
    rows = []
    for interval in (1, 8):
        for name, colorizer in colorizers.items():
            result = colorize_video(
                video,
                folder / "out.mp4",
                colorizer=colorizer,
                keyframe_interval=interval,
                overwrite=True,
            )
            stages = ", ".join(
                f"{stage} {1000 * seconds / result.frames:.1f}"
                for stage, seconds in sorted(result.stage_seconds.items())
            )
            rows.append([str(interval), name, f"{result.frames_per_second:.1f}", stages])
    return markdown_table(
        [
            "a key frame every",
            "device",
            "frames a second",
            "ms a frame in each stage (they overlap)",
        ],
        rows,
    )


def versions() -> str:
    """List the processor, the GPU, and what OpenCV was built with."""
    lines = [machine(), f"OpenCV {cv2.__version__}, {cv2.getNumThreads()} threads"]
    lines += [
        " ".join(line.split())
        for line in cv2.getBuildInformation().splitlines()
        if line.strip().startswith(("NVIDIA CUDA:", "NVIDIA GPU arch:", "cuDNN:"))
    ]
    if shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
        completed = subprocess.run(query, capture_output=True, text=True, check=False)
        lines += [f"{line} (driver)" for line in completed.stdout.splitlines()]
    return "\n".join(f"- {line}" for line in lines) + "\n"


def measure(names: list[str], options: argparse.Namespace, folder: Path) -> list[str]:
    """Return all tables as Markdown."""
    rounds, frames = options.rounds, options.frames
    paths = {"zhang": network.seeded_files(folder), "lite": network.lite_files()}
    files = colorcv.ModelFiles(
        prototxt=caffe_writer.DATA / "colorization_deploy_v2.prototxt",
        caffemodel=folder / "seeded.caffemodel",
        centers=caffe_writer.DATA / "pts_in_hull.npy",
    )
    models: dict[str, Any] = {"zhang": files, "lite": "lite"}
    out = [f"## Devices of one machine, {platform.machine()}\n", versions()]
    for model in options.model or paths:
        graph = network.read_graph(paths[model])
        label = "full size" if model == "zhang" else model
        size = " × ".join(str(side) for side in graph.input_shape[2:])
        out += [f"### The network alone, {label} ({size})\n", variants(graph, names, rounds)]
        out += [f"### In batches, {label}: ms an image\n", batches(graph, names, rounds)]
        colorizers = {name: colorcv.Colorizer(models[model], device=name) for name in names}
        out += [f"### A photo end to end, {label}\n", photos(colorizers, max(3, rounds // 3))]
        if importlib.util.find_spec("av"):
            head = f"### A video of {VIDEO_WH[0]} × {VIDEO_WH[1]} end to end, {label}\n"
            out += [head, videos(colorizers, frames, folder)]
    return out


def main() -> None:
    """Measure, and print or append the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", action="append", choices=device.NAMES)
    parser.add_argument("--model", action="append", choices=("zhang", "lite"))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--frames", type=int, default=240)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    available = [info.name for info in colorcv.devices() if info.available]
    names = options.device or [name for name in available if not name.startswith("opencl")]
    for name in names:
        try:
            device.check(name)
        except colorcv.DeviceError as err:
            parser.error(str(err))
    with tempfile.TemporaryDirectory() as folder:
        text = "\n".join(measure(names, options, Path(folder)))
    if options.output:
        with options.output.open("a") as file:
            file.write("\n" + text)
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
