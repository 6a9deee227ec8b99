"""Time colorcv and its peers side by side and write RESULTS.md.

    python -m benchmarks.run --python PYTHON4 --python PYTHON5 [--rounds 15] [--output FILE]

Each PYTHON is an interpreter of an environment with one OpenCV (and onnxruntime, and torch where
it is to be compared). This one needs the `onnx` package. A full-size network with seeded weights
is made first, so nothing is fetched; every contestant runs it in a process of its own, with two
threads, one after the other in turn; quoted are medians, and medians of the ratios within a turn.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np

ROOT = Path(__file__).parents[1]
LITE = ROOT / "colorcv" / "models" / "lite"
ZHANG = ROOT / "tests" / "data"
SIZES = ((640, 480), (1920, 1080), (4000, 3000))
HUGE = (11600, 8700)  # 101 megapixels
ALBUM = 6  # files of a batch


class Worker:
    """A contestant in a process of its own."""

    def __init__(self, python: str, name: str, files: dict[str, Any]) -> None:
        begun = time.perf_counter()
        self.name = name
        self.process = subprocess.Popen(
            [python, "-m", "benchmarks.worker", name, json.dumps(files)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.facts = self._read()
        self.facts["start_s"] = time.perf_counter() - begun
        self.ab = np.array(self.facts.pop("ab"))

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            assert self.process.stderr is not None
            raise RuntimeError(f"{self.name}: {self.process.stderr.read()[-500:]}")
        facts: dict[str, Any] = json.loads(line)
        return facts

    def __call__(self, **order: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return self._read()

    def close(self) -> None:
        self.process.communicate()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def make_models(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write the seeded full-size network in every form; return its files, and lite's."""
    import onnx

    from tests.reference.caffe_writer import SCALE, seeded_weights, write
    from tests.reference.onnx_reference import build

    weights = seeded_weights()
    write(folder / "seeded.caffemodel", weights)
    centers = np.load(ZHANG / "pts_in_hull.npy")
    model = onnx.load_from_string(build(weights, centers, SCALE))
    for dim, size in zip(
        model.graph.output[0].type.tensor_type.shape.dim, (1, 2, 56, 56), strict=True
    ):
        dim.dim_value = size
    onnx.save(model, str(folder / "seeded.onnx"))
    np.savez(
        folder / "seeded.npz",
        **{
            f"{name}.{i}": blob
            for name, blobs in weights.items()
            for i, blob in enumerate(blobs)
        },
    )  # fmt: skip
    zhang = {
        "prototxt": ZHANG / "colorization_deploy_v2.prototxt",
        "caffemodel": folder / "seeded.caffemodel",
        "centers": ZHANG / "pts_in_hull.npy",
        "onnx": folder / "seeded.onnx",
        "weights": folder / "seeded.npz",
    }
    lite = {
        "prototxt": LITE / "colorcv_lite_v2.prototxt",
        "caffemodel": LITE / "colorcv_lite_v2.caffemodel",
        "centers": LITE / "pts_in_hull.npy",
        "onnx": folder / "none",
        "weights": folder / "none",
    }
    return (
        {key: str(value) for key, value in zhang.items()} | {"size": 224},
        {key: str(value) for key, value in lite.items()} | {"size": 192},
    )


def make_album(folder: Path) -> None:
    """Write a few photos as JPEG files."""
    folder.mkdir()
    photo = cv2.imread(str(ROOT / "examples" / "photos" / "saratoga_broadway_1900s.jpg"))
    large = cv2.resize(photo, (2000, 1500), interpolation=cv2.INTER_CUBIC)
    for number in range(ALBUM):
        cv2.imwrite(str(folder / f"{number}.jpg"), large)


def opened(python: str, names: list[str], files: dict[str, Any]) -> list[Worker]:
    """Start those contestants that this environment has."""
    workers = []
    for name in names:
        try:
            workers.append(Worker(python, name, files))
        except RuntimeError as err:
            sys.stderr.write(f"left out: {err.args[0].splitlines()[0]} {err.args[0][-200:]}\n")
    return workers


def in_turn(workers: list[Worker], rounds: int, **order: Any) -> list[list[float]]:
    """Give the order to all in turn, once unheeded; milliseconds by worker and round."""
    times: list[list[float]] = [[] for _ in workers]
    for turn in range(rounds + 1):
        for worker, own in zip(workers, times, strict=True):
            ms = worker(**order, settle=True)["ms"]
            if turn:
                own.append(ms)
    return times


def table(header: list[str], rows: list[list[str]]) -> str:
    """Lay out a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def compared(workers: list[Worker], times: list[list[float]], base: int) -> list[list[str]]:
    """Rows of name, median, and how many times as fast as the base, by the turn."""
    rows = []
    for worker, own in zip(workers, times, strict=True):
        ratio = median(b / a for a, b in zip(own, times[base], strict=True))
        rows.append([worker.name, f"{median(own):.1f}", f"{ratio:.2f}"])
    return rows


def imports(python: str, rounds: int) -> str:
    """Time `import cv2` and `import cv2, colorcv` (with its main names) in turn."""
    statements = ("import cv2", "import cv2, colorcv", "import cv2, colorcv; colorcv.Colorizer")
    times: dict[str, list[float]] = {statement: [] for statement in statements}
    for turn in range(rounds + 1):
        for statement in statements:
            code = (
                f"import time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
            )
            told = subprocess.run(
                [python, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
            )
            if turn:
                times[statement].append(float(told.stdout) * 1e3)
    base = times[statements[0]]
    rows = [
        [
            f"`{s}`",
            f"{median(own):.0f}",
            f"{median(a - b for a, b in zip(own, base, strict=True)):.0f}",
        ]
        for s, own in times.items()
    ]
    return table(["statement", "ms", "ms above `import cv2`"], rows)


def peak(
    python: str, name: str, files: dict[str, Any], size: tuple[int, int] | None
) -> list[float]:
    """Peak MiB of a fresh process: after `import cv2`, after the network, after one photo."""
    with Worker(python, name, files) as worker:
        facts = worker(do="network")
        peaks = [worker.facts["cv2_mb"], facts["peak_mb"]]
        if size:
            peaks.append(worker(do="photo", size=size)["peak_mb"])
        return peaks


def line_report(python: str, zhang: dict[str, Any], lite: dict[str, Any], rounds: int) -> str:
    """Everything measured on one interpreter, as Markdown."""
    own_peers = ["recipe (readNetFromCaffe)", "plain ONNX in OpenCV"]
    names = ["colorcv", *own_peers, "ONNX Runtime", "PyTorch eager"]
    workers = opened(python, names, zhang)
    version = workers[0].facts["opencv"]
    four = version.startswith("4")
    peer = own_peers[0] if four else own_peers[1]
    base = next(i for i, worker in enumerate(workers) if worker.name == peer)
    out = [f"## OpenCV {version}\n"]

    off = [float(np.abs(worker.ab - workers[base].ab).max()) for worker in workers]
    rows = compared(workers, in_turn(workers, rounds, do="network"), base)
    for row, worker, difference in zip(rows, workers, off, strict=True):
        row += [f"{worker.facts['peak_mb']:.0f}", f"{difference:.4f}"]
        assert difference < 0.05, f"{worker.name} answers otherwise: {difference}"
    out += [
        f"### The network alone, full size ({zhang['size']} × {zhang['size']})\n",
        table(["", "ms", f"times as fast as {peer}", "peak MiB", "largest difference in ab"], rows),
    ]
    for worker in workers:
        if worker.name in ("ONNX Runtime", "PyTorch eager"):
            worker.close()
    workers = [worker for worker in workers if worker.name in ("colorcv", peer)]

    rows = []
    for size in SIZES:
        times = in_turn(workers, max(3, rounds // 3), do="photo", size=size)
        a, b = (median(own) for own in times)
        ratio = median(y / x for x, y in zip(*times, strict=True))
        rows.append([f"{size[0]} × {size[1]}", f"{a:.0f}", f"{b:.0f}", f"{ratio:.2f}"])
    with tempfile.TemporaryDirectory() as scratch:
        album, out_folder = Path(scratch, "album"), Path(scratch, "out")
        make_album(album)
        out_folder.mkdir()
        order = {"do": "files", "folder": str(album), "out": str(out_folder)}
        times = in_turn(workers, 3, **order)
    many = [median(own) / ALBUM / 1e3 for own in times]
    gain = median(y / x for x, y in zip(*times, strict=True))
    for row, size in zip(rows, SIZES, strict=True):
        ours, theirs = (peak(python, name, zhang, size) for name in ("colorcv", peer))
        row += [f"{ours[2]:.0f}", f"{theirs[2]:.0f}"]
    megabytes = HUGE[0] * HUGE[1] * 3 / 2**20
    begun = time.perf_counter()
    huge = peak(python, "colorcv", zhang, HUGE)
    seconds = time.perf_counter() - begun
    for worker in workers:
        worker.close()
    above = (huge[2] - huge[1] - megabytes) / megabytes
    out += [
        "### A photo end to end, full size, 8-bit BGR array to array\n",
        table(
            ["pixels", "colorcv ms", f"{peer} ms", "times as fast", "colorcv MiB", "peer MiB"],
            rows,
        ),
        "The seeded network's colours are wild, and many lie outside of sRGB, where colorcv keeps "
        "the lightness and the recipe clips.\n",
        f"{ALBUM} JPEG files of 2000 × 1500, read, coloured, written: {1 / many[0]:.1f} a second "
        f"against {1 / many[1]:.1f}, {gain:.2f} times as fast.\n",
        f"{HUGE[0]} × {HUGE[1]} (picture and result {megabytes:.0f} MiB each): colorcv's peak is "
        f"{huge[2]:.0f} MiB; above the network and the caller's picture {above:.2f} times "
        f"the result, itself included ({seconds:.0f} s with start-up and making it).\n",
    ]  # fmt: skip

    with (
        Worker(python, "colorcv, low_memory", zhang) as small,
        Worker(python, "colorcv", zhang) as big,
    ):
        times = in_turn([small, big], max(3, rounds // 3), do="network")
        ratio = median(a / b for a, b in zip(*times, strict=True))
        out.append(
            f"`low_memory=True`: peak {small.facts['peak_mb']:.0f} MiB instead of "
            f"{big.facts['peak_mb']:.0f} MiB, at {ratio:.2f} times the time.\n"
        )

    names = ["colorcv", *(own_peers[:1] if four else [])]
    workers = opened(python, names, lite)
    with Worker(python, peer, zhang) as recipe:
        times = in_turn([*workers, recipe], rounds, do="network")
        rows = compared([*workers, recipe], times, len(workers))
        rows[0][0], rows[-1][0] = "colorcv, lite", f"full size: {peer}"
        above_cv2 = workers[0].facts["peak_mb"] - workers[0].facts["cv2_mb"]
    for worker in workers:
        worker.close()
    out += [
        "### The small model, network alone (192 × 192)\n",
        table(["", "ms", "times as fast"], rows),
        f"lite's peak is {above_cv2:.0f} MiB above `import cv2`.\n",
    ]

    rows = []
    for label, files, name in (
        ("full size, colorcv", zhang, "colorcv"),
        (f"full size, {peer}", zhang, peer),
        ("lite, colorcv", lite, "colorcv"),
    ):
        starts = []
        for _ in range(5):
            with Worker(python, name, files) as worker:
                starts.append(worker.facts)
        rows.append(
            [
                label,
                f"{median(s['load_s'] + s['first_s'] for s in starts):.2f}",
                f"{median(s['start_s'] for s in starts):.2f}",
            ]
        )
    out += [
        "### Cold start to the first answer, files in the system's cache\n",
        table(["", "s after `import cv2`", "s from the start of the process"], rows),
        "### Importing\n",
        imports(python, rounds),
    ]
    return "\n".join(out)


def machine() -> str:
    """Name the processor and what runs on it."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        cpu = next(
            (
                row.split(":")[1].strip()
                for row in info.read_text().splitlines()
                if "model name" in row
            ),
            cpu,
        )
    system, python = platform.system(), platform.python_version()
    return f"{cpu}, {os.cpu_count()} processors, {system}, Python {python}"


def main() -> None:
    """Measure on every interpreter given and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", action="append", help="an interpreter; repeat for each OpenCV")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("RESULTS.md"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        zhang, lite = make_models(Path(folder))
        parts = [
            line_report(python, zhang, lite, arguments.rounds)
            for python in arguments.python or [sys.executable]
        ]
    head = (
        f"# Measured\n\nBy `python -m benchmarks.run`; times are medians of {arguments.rounds} "
        f"turns, two threads, full-size weights seeded at random.\n\n{machine()}\n"
    )
    arguments.output.write_text("\n".join([head, *parts]))


if __name__ == "__main__":
    main()
