"""Interleaved timing, peak memory, Markdown tables and seeded models for the benchmarks.

It does not import cv2 or NumPy itself, so that `benchmarks.worker` can measure their cost.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
PHOTO = ROOT / "examples" / "photos" / "saratoga_broadway_1900s.jpg"
ZHANG = ROOT / "tests" / "data"
LITE = ROOT / "colorcv" / "models" / "lite"
THREADS = 2
SIZES_WH = ((640, 480), (1920, 1080), (4000, 3000))


class BenchmarkModel(NamedTuple):
    """One model in every form that a baseline reads, and the rows and columns of its input."""

    prototxt: Path
    caffemodel: Path
    centers: Path
    onnx: Path  # the plain network, made with the onnx package from the same weights
    weights: Path  # the same weights by name, for PyTorch
    size: int

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON types, for another process."""
        return {k: v if k == "size" else str(v) for k, v in self._asdict().items()}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> BenchmarkModel:
        """Return the model that `to_json` described."""
        return cls(**{k: v if k == "size" else Path(v) for k, v in fields.items()})


def lite_model() -> BenchmarkModel:
    """Return the bundled model, which no baseline but OpenCV's Caffe importer can read."""
    (prototxt,), (caffemodel,) = LITE.glob("*.prototxt"), LITE.glob("*.caffemodel")
    absent = LITE / "none"
    return BenchmarkModel(prototxt, caffemodel, LITE / "pts_in_hull.npy", absent, absent, 192)


def write_seeded_caffemodel(path: Path) -> None:
    """Write seeded random weights of zhang2016's size, which take as much time as real ones."""
    from tests.reference import caffe_writer

    caffe_writer.write(path, caffe_writer.seeded_weights())


def write_seeded_model(folder: Path) -> BenchmarkModel:
    """Write the seeded full-size network in every form. Needs the onnx package."""
    import numpy as np
    import onnx

    from tests.reference import caffe_writer
    from tests.reference.onnx_reference import build

    model = BenchmarkModel(
        prototxt=ZHANG / "colorization_deploy_v2.prototxt",
        caffemodel=folder / "seeded.caffemodel",
        centers=ZHANG / "pts_in_hull.npy",
        onnx=folder / "seeded.onnx",
        weights=folder / "seeded.npz",
        size=224,
    )
    weights = caffe_writer.seeded_weights()
    caffe_writer.write(model.caffemodel, weights)
    named = {f"{name}.{i}": blob for name, blobs in weights.items() for i, blob in enumerate(blobs)}
    np.savez(model.weights, **named)
    graph = onnx.load_from_string(build(weights, np.load(model.centers), caffe_writer.SCALE))
    output = graph.graph.output[0].type.tensor_type.shape.dim
    for dim, size in zip(output, (1, 2, 56, 56), strict=True):
        dim.dim_value = size  # OpenCV refuses an output without a shape
    onnx.save(graph, str(model.onnx))
    return model


def time_interleaved(
    functions: Sequence[Callable[[], Any]], rounds: int, *, warm_up: int = 1
) -> list[list[float]]:
    """Call all functions once per round; return milliseconds by function and round.

    Other load on the machine affects neighbouring calls alike, so the figures to read are the
    ratios within a round. A function that returns a float has timed itself, in milliseconds.
    """
    times: list[list[float]] = [[] for _ in functions]
    for turn in range(warm_up + rounds):
        for function, own in zip(functions, times, strict=True):
            start = time.perf_counter()
            returned = function()
            elapsed = (time.perf_counter() - start) * 1e3
            if turn >= warm_up:
                own.append(returned if isinstance(returned, float) else elapsed)
    return times


def time_repeated(function: Callable[[], Any], *, min_s: float = 0.2) -> list[float]:
    """Call the function once, and again until `min_s` have passed; milliseconds of each call."""
    times: list[float] = []
    while not times or sum(times) < 1e3 * min_s:
        start = time.perf_counter()
        function()
        times.append((time.perf_counter() - start) * 1e3)
    return times


def speedup(times: Sequence[float], baseline: Sequence[float]) -> float:
    """Return the speed as a multiple of the baseline's: the median of the ratios in each round."""
    return median(b / a for a, b in zip(times, baseline, strict=True))


def ratio_rows(
    names: Sequence[str], times: Sequence[Sequence[float]], baseline: int
) -> list[list[str]]:
    """Return rows of name, median ms, and how many times as fast as the baseline."""
    return [
        [name, f"{median(own):.1f}", f"{speedup(own, times[baseline]):.2f}"]
        for name, own in zip(names, times, strict=True)
    ]


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def peak_rss_mib() -> float:
    """Return the peak of this process's resident memory so far, in MiB."""
    # On Linux ru_maxrss includes what the parent had before it executed this program.
    status = Path("/proc/self/status")
    if status.exists():
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(peak.split()[1]) / 1024
    peak_rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak_rss / (2**20 if sys.platform == "darwin" else 2**10)  # macOS counts bytes


def machine() -> str:
    """Return the processor's name and the versions of what runs on it."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text().splitlines()
        cpu = next((line.split(":")[1].strip() for line in lines if "model name" in line), cpu)
    system, python = platform.system(), platform.python_version()
    return f"{cpu}, {os.cpu_count()} processors, {system}, Python {python}"


class Worker:
    """A baseline in a process of its own."""

    def __init__(self, python: str, name: str, model: BenchmarkModel) -> None:
        start = time.perf_counter()
        self.name = name
        self.process = subprocess.Popen(
            [python, "-m", "benchmarks.worker", name, json.dumps(model.to_json())],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.info = self._read_line()
        self.info["start_s"] = time.perf_counter() - start
        self.ab: list[float] = self.info.pop("ab")

    def _read_line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            assert self.process.stderr is not None
            raise RuntimeError(f"{self.name}: {self.process.stderr.read()[-500:]}")
        fields: dict[str, Any] = json.loads(line)
        return fields

    def __call__(self, **order: Any) -> dict[str, Any]:
        """Give one order; return its time `ms` and the peak memory `peak_mib` so far."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return self._read_line()

    def time(self, **order: Any) -> float:
        """Return the milliseconds of an order, after the caches have settled."""
        return float(self(**order, settle=True)["ms"])

    def close(self) -> None:
        self.process.communicate()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def start_workers(python: str, names: list[str], model: BenchmarkModel) -> list[Worker]:
    """Start the baselines that this environment can run; name the others on stderr."""
    workers = []
    for name in names:
        try:
            workers.append(Worker(python, name, model))
        except RuntimeError as err:
            message = err.args[0].strip()
            sys.stderr.write(f"skipped: {message.splitlines()[0]} {message[-200:]}\n")
    return workers


def time_workers(workers: list[Worker], rounds: int, **order: Any) -> list[list[float]]:
    """Give the order to all in turn; return milliseconds by worker and round."""
    return time_interleaved([partial(worker.time, **order) for worker in workers], rounds)
