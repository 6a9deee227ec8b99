"""Compare variants of the network's graph on the installed OpenCV: time and memory.

    python -m benchmarks.network [--model zhang|lite] [--rounds N] [VARIANT ...]

The rows of colorcv/network/profiles.py rest on these figures. Each variant runs in its own process,
so that its memory can be measured; they take turns, so that other load on the machine affects them
alike. Compare the ratios rather than the milliseconds. The full-size network has seeded weights
(tests/reference/caffe_writer.py), which take as much time as real ones. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np

from benchmarks.harness import (
    ROOT,
    THREADS,
    ZHANG,
    lite_model,
    markdown_table,
    peak_rss_mib,
    speedup,
    write_seeded_caffemodel,
)
from colorcv.network.caffe import caffemodel, centers, importer, prototxt
from colorcv.network.engine import Engine
from colorcv.network.graph import Graph, Node
from colorcv.network.profiles import Profile, prefers_winograd, select_profile
from colorcv.network.rewrites.dilation import space_to_batch_winograd
from colorcv.network.rewrites.head import head_to_gemm
from colorcv.network.rewrites.winograd import winograd
from tests.reference import caffe_writer

Rewrite = Callable[[Graph], Graph]
Files = tuple[Path, Path, Path]
WARM_UP = 2  # rounds that are not counted


def from_channels(stride_1: int, *, stride_2: int = 1 << 30) -> tuple[Rewrite, ...]:
    """Return rewrites to Winograd of layers with at least this many input channels."""

    def predicate(node: Node, channels: int) -> bool:
        if node.op == "ConvTranspose":
            return True
        return channels >= (stride_1 if node.integers("strides") == (1, 1) else stride_2)

    return (space_to_batch_winograd, winograd(predicate))


def winograd_with(max_products: float) -> tuple[Rewrite, ...]:
    """Return the rewrites of the fast profile of OpenCV 5, with other transforms."""
    return (
        partial(space_to_batch_winograd, max_products=max_products),
        winograd(prefers_winograd, max_products=max_products),
        head_to_gemm,
    )


VARIANTS: dict[str, Profile] = {
    "plain": Profile(),
    "fast": select_profile("cpu", "fast"),
    "balanced": select_profile("cpu", "balanced"),
    "low": select_profile("cpu", "low"),
    "Gemm head": Profile((head_to_gemm,)),
    "Winograd from 32 channels": Profile(from_channels(32)),
    "Winograd from 64 channels": Profile(from_channels(64)),
    "Winograd from 128 channels": Profile(from_channels(128)),
    "Winograd from 256 channels": Profile(from_channels(256)),
    "Winograd from 96, stride 2 from 256": Profile(from_channels(96, stride_2=256)),
    "Winograd from 96, stride 2 from 128": Profile(from_channels(96, stride_2=128)),
    "Winograd, up to 1.0 times the products": Profile(winograd_with(1.0), "external"),
    "Winograd, up to 1.5 times the products": Profile(winograd_with(1.5), "external"),
    "Winograd, up to 2.0 times the products": Profile(winograd_with(2.0), "external"),
    "Winograd of deconvolutions": Profile(
        (winograd(lambda node, _: node.op == "ConvTranspose"),),
    ),
}


def lite_files() -> Files:
    """Return the files of the bundled model."""
    model = lite_model()
    return model.prototxt, model.caffemodel, model.centers


def seeded_files(folder: Path) -> Files:
    """Write the full-size network with seeded weights to a folder and return its files."""
    weights = folder / "seeded.caffemodel"
    write_seeded_caffemodel(weights)
    return ZHANG / "colorization_deploy_v2.prototxt", weights, ZHANG / "pts_in_hull.npy"


def read_graph(files: Files) -> Graph:
    """Return the plain graph of a model."""
    return importer.build(
        prototxt.read(files[0]),
        caffemodel.read(files[1]),
        centers.read(files[2]),
        weights_file=str(files[1]),
    )


def peak_mib() -> float:
    """Return the peak of resident memory in MiB; on Linux, since the last call."""
    peak = peak_rss_mib()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return peak


def work(name: str, files: Files) -> None:
    """Load a variant, then run it once for each line of standard input."""
    cv2.setNumThreads(THREADS)
    peak_mib()
    engine = Engine(lambda: read_graph(files), "cpu", VARIANTS[name])
    load_peak = peak_mib()
    lightness = caffe_writer.sample_lightness(engine.input_hw, seed=3)
    ab = None
    for _line in sys.stdin:
        start, start_cpu = time.perf_counter(), time.process_time()
        output, _ = engine.run(dict.fromkeys(engine.inputs, lightness[None, None] - 50))
        elapsed_ms = (time.perf_counter() - start) * 1e3
        cpu_ms = (time.process_time() - start_cpu) * 1e3
        answer: dict[str, Any] = {"ms": elapsed_ms, "cpu_ms": cpu_ms}
        if ab is None:
            ab = output.copy()
            answer["ab"] = ab.reshape(-1).tolist()
            answer["load_mib"] = load_peak
            answer["first_mib"] = peak_mib()
        else:
            answer["run_mib"] = peak_mib()
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def start(name: str, files: Files) -> subprocess.Popen[str]:
    """Start the process of a variant."""
    command = [sys.executable, "-m", "benchmarks.network", "--worker", name, *map(str, files)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def ask(worker: subprocess.Popen[str]) -> dict[str, Any]:
    """Run a variant once."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    try:
        worker.stdin.write("run\n")
        worker.stdin.flush()
        found: dict[str, Any] = json.loads(worker.stdout.readline())
    except (OSError, ValueError) as err:
        raise RuntimeError("the worker died") from err
    return found


def measure(names: list[str], files: Files, rounds: int) -> list[list[str]]:
    """Return the rows of the table."""
    workers, answers = {}, {}
    for name in names:
        workers[name] = start(name, files)
        try:
            answers[name] = ask(workers[name])
        except RuntimeError:
            worker = workers.pop(name)
            error = worker.communicate()[1].strip().splitlines()[-1:]
            sys.stderr.write(f"{name}: left out: {''.join(error)[:120]}\n")
    times: dict[str, list[float]] = {name: [] for name in workers}
    cpu_times: dict[str, list[float]] = {name: [] for name in workers}
    for turn in range(WARM_UP + rounds):
        for name, worker in workers.items():
            answer = ask(worker)
            if turn >= WARM_UP:
                times[name].append(answer["ms"])
                cpu_times[name].append(answer["cpu_ms"])
            answers[name]["run_mib"] = answer["run_mib"]
    for worker in workers.values():
        worker.communicate()
    rows = []
    for name, own in times.items():
        answer = answers[name]
        difference = np.abs(np.subtract(answer["ab"], answers["plain"]["ab"])).max()
        memory = (answer["load_mib"], answer["first_mib"], answer["run_mib"])
        rows.append(
            [
                name,
                f"{median(own):.1f}",
                f"{min(own):.1f}",
                f"{speedup(own, times['plain']):.2f}",
                f"{speedup(cpu_times[name], cpu_times['plain']):.2f}",
                *(f"{mib:.0f}" for mib in memory),
                f"{difference:.4f}",
            ]
        )
    return rows


def main() -> None:
    """Measure the variants and print the table."""
    parser = argparse.ArgumentParser(description="Measure variants of the network's graph.")
    parser.add_argument("variants", nargs="*", metavar="VARIANT", help=", ".join(VARIANTS))
    parser.add_argument("--model", choices=("zhang", "lite"), default="zhang")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        name, *paths = options.variants
        work(name, (Path(paths[0]), Path(paths[1]), Path(paths[2])))
        return
    with tempfile.TemporaryDirectory() as folder:
        files = lite_files() if options.model == "lite" else seeded_files(Path(folder))
        names = list(dict.fromkeys(["plain", *(options.variants or VARIANTS)]))
        rows = measure(names, files, options.rounds)
    print(
        f"OpenCV {cv2.__version__}, {options.model}, {THREADS} threads, {options.rounds} rounds\n"
    )
    header = ["variant", "median ms", "min ms", "times as fast as plain", "by CPU time"]
    header += ["peak MiB loading", "first run", "later", "max difference in ab"]
    print(markdown_table(header, rows), end="")


if __name__ == "__main__":
    main()
