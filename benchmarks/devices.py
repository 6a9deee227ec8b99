"""Time the devices of one machine against each other: its CPU, CUDA, CUDA in half precision.

    python -m benchmarks.devices [--device NAME ...] [--model NAME ...] [--rounds N]

Without --device, all that `colorcv info` says yes to, but OpenCL. The CPU has all its threads, and
is what the others are held against. The full-size network has seeded weights. Films need PyAV.
Prints Markdown, or appends it to the file of --output: the network alone in each form of its graph,
pictures in batches, photos and films end to end, and what part of those the network is.
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
WARM_UP = 2  # rounds: CUDA tunes itself at first
FILM = (1280, 720)
VARIANTS: dict[str, Callable[[Graph], Graph]] = {
    "plain": profiles.DEFAULT_PROFILE.rewrite,
    "rewritten, as for OpenCV 4's CPU": profiles.PROFILES[0].fast.rewrite,
    "rewritten, as for OpenCV 5's CPU": profiles.PROFILES[1].fast.rewrite,
}


def run_once(net: cv2.dnn.Net, blob: Any) -> Any:
    """One forward; the answer lies in the computer's own memory when this returns."""
    net.setInput(blob)
    return net.forward()


def forms(graph: Graph, names: list[str], rounds: int) -> str:
    """The network alone: each form of its graph on each device."""
    lightness = caffe_writer.sample_lightness(graph.input_shape[2:], seed=3)  # type: ignore[arg-type]
    blob = (lightness - 50)[None, None]
    labels, works, refused = [], [], []
    for name in names:
        for form, rewrite in VARIANTS.items():
            try:
                net = loading.load_net(partial(rewrite, graph), name)
                run_once(net, blob)
            except (cv2.error, colorcv.DeviceError) as err:
                refused.append(f"Refused: {form} on {name}: {' '.join(str(err).split())[:160]}\n")
                continue
            labels.append((name, form))
            works.append(partial(run_once, net, blob))
    times = time_interleaved(works, rounds, warm_up=WARM_UP)
    answers = [work()[0] for work in works]
    chosen = profiles.select_profile("cpu", low_memory=False).rewrite
    forms_of_cpu = [i for i, (name, _) in enumerate(labels) if name == names[0]]
    base = next((i for i in forms_of_cpu if VARIANTS[labels[i][1]] == chosen), forms_of_cpu[0])
    rows = [
        [
            *label,
            f"{median(own):.2f}",
            f"{speedup(own, times[base]):.2f}",
            f"{np.abs(answer - answers[forms_of_cpu[0]]).max():.4f}",
        ]
        for label, own, answer in zip(labels, times, answers, strict=True)
    ]
    head = ["device", "graph", "ms", f"times as fast as {' '.join(labels[base])}", "off by, in ab"]
    return "\n".join([markdown_table(head, rows), *refused])


def batches(graph: Graph, names: list[str], rounds: int) -> str:
    """The plain network on several pictures at once; ms for each picture."""
    height, width = graph.input_shape[2:]
    several = np.random.default_rng(0).uniform(-50, 50, (max(BATCHES), 1, height, width))
    several = several.astype(np.float32)
    rows = []
    for name in names:
        # A network of its own for each size: another size makes OpenCV set the network up anew.
        nets = [loading.load_net(lambda: graph, name) for _ in BATCHES]
        works = [
            partial(run_once, net, several[:count])
            for net, count in zip(nets, BATCHES, strict=True)
        ]
        times = time_interleaved(works, rounds, warm_up=WARM_UP)
        each = (median(own) / count for own, count in zip(times, BATCHES, strict=True))
        rows.append([name, *(f"{ms:.2f}" for ms in each)])
    return markdown_table(["device", *(f"{count} at once" for count in BATCHES)], rows)


def photos(colorizers: dict[str, colorcv.Colorizer], rounds: int) -> str:
    """A photo from array to array, and the network's part of that."""
    photo: Any = cv2.imread(str(PHOTO))
    rows = []
    for size_wh in SIZES_WH:
        size = f"{size_wh[0]} × {size_wh[1]}"
        image = cv2.resize(photo, size_wh, interpolation=cv2.INTER_CUBIC)
        works: list[Callable[[], Any]] = []
        for colorizer in colorizers.values():
            lightness = caffe_writer.sample_lightness(colorizer.input_hw, seed=3)
            works += [
                partial(colorizer.colorize, image),
                partial(colorizer.predict_ab, lightness),
            ]
        times = time_interleaved(works, rounds, warm_up=WARM_UP)
        for index, name in enumerate(colorizers):
            whole, alone = (median(own) for own in times[2 * index : 2 * index + 2])
            faster = speedup(times[2 * index], times[0])
            part = f"{100 * alone / whole:.0f} %"
            rows.append([size, name, f"{whole:.1f}", f"{faster:.2f}", part])
    first = next(iter(colorizers))
    header = ["pixels", "device", "ms", f"times as fast as {first}", "network's part"]
    return markdown_table(header, rows)


def films(colorizers: dict[str, colorcv.Colorizer], frames: int, folder: Path) -> str:
    """A film from file to file: every frame a key frame, and as `colorize_video` does it."""
    from benchmarks.video import bgr_frames, write_video
    from colorcv.video.api import colorize_video

    film = folder / "film.mp4"
    write_video(film, bgr_frames(None, FILM, frames))
    rows = []
    for interval in (1, 8):
        for name, colorizer in colorizers.items():
            result = colorize_video(
                film,
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
    """Name the processor, the card, and what OpenCV was built with."""
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


def measured(names: list[str], options: argparse.Namespace, folder: Path) -> list[str]:
    """Everything, as Markdown."""
    rounds, frames = options.rounds, options.frames
    graphs = {"zhang": network.zhang(folder), "lite": network.lite()}
    files = colorcv.ModelFiles(
        prototxt=caffe_writer.DATA / "colorization_deploy_v2.prototxt",
        caffemodel=folder / "seeded.caffemodel",
        centers=caffe_writer.DATA / "pts_in_hull.npy",
    )
    models: dict[str, Any] = {"zhang": files, "lite": "lite"}
    out = [f"## Devices of one machine, {platform.machine()}\n", versions()]
    for model in options.model or graphs:
        graph, label = graphs[model], "full size" if model == "zhang" else model
        size = " × ".join(str(side) for side in graph.input_shape[2:])
        out += [f"### The network alone, {label} ({size})\n", forms(graph, names, rounds)]
        out += [f"### In batches, {label}: ms a picture\n", batches(graph, names, rounds)]
        colorizers = {name: colorcv.Colorizer(models[model], device=name) for name in names}
        out += [f"### A photo end to end, {label}\n", photos(colorizers, max(3, rounds // 3))]
        if importlib.util.find_spec("av"):
            head = f"### A film of {FILM[0]} × {FILM[1]} end to end, {label}\n"
            out += [head, films(colorizers, frames, folder)]
    return out


def main() -> None:
    """Measure, and print or append what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", action="append", choices=device.NAMES)
    parser.add_argument("--model", action="append", choices=("zhang", "lite"))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--frames", type=int, default=240)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    there = [info.name for info in colorcv.devices() if info.available]
    names = options.device or [name for name in there if not name.startswith("opencl")]
    for name in names:
        try:
            device.check(name)
        except colorcv.DeviceError as err:
            parser.error(str(err))
    with tempfile.TemporaryDirectory() as folder:
        text = "\n".join(measured(names, options, Path(folder)))
    if options.output:
        with options.output.open("a") as file:
            file.write("\n" + text)
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
