"""Time colorcv and its peers side by side and write RESULTS.md.

    python -m benchmarks.run --python PYTHON4 --python PYTHON5 [--rounds 15] [--output FILE]

Each PYTHON is the interpreter of an environment with one OpenCV (and with onnxruntime and torch
where they are to be compared). This one needs the `onnx` package. A full-size network with seeded
weights is made first, so nothing is downloaded. Every baseline runs in a process of its own with
two threads, and they take turns: the figures are medians, and medians of the ratios within a round.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median

import cv2
import numpy as np

from benchmarks.baselines import FORMS
from benchmarks.harness import (
    PHOTO,
    ROOT,
    SIZES_WH,
    BenchmarkModel,
    Worker,
    lite_model,
    machine,
    markdown_table,
    ratio_rows,
    speedup,
    start_workers,
    time_interleaved,
    time_workers,
    write_seeded_model,
)

HUGE_WH = (11600, 8700)  # 101 megapixels
BATCH_FILES = 6
MAX_AB_DIFFERENCE = 0.05
CAFFE, PLAIN_ONNX = "tutorial (readNetFromCaffe)", "plain ONNX in OpenCV"
COLD_STARTS = 5


def peaks_mib(
    python: str, name: str, model: BenchmarkModel, size_wh: tuple[int, int]
) -> tuple[float, float]:
    """Return the peak memory of a fresh process after one prediction, and after one photo."""
    with Worker(python, name, model) as worker:
        network = worker(do="network")["peak_mib"]
        return network, worker(do="photo", size=size_wh)["peak_mib"]


def write_batch(folder: Path) -> None:
    """Write a few photos as JPEG files."""
    folder.mkdir()
    photo = cv2.imread(str(PHOTO))
    large = cv2.resize(photo, (2000, 1500), interpolation=cv2.INTER_CUBIC)
    for number in range(BATCH_FILES):
        cv2.imwrite(str(folder / f"{number}.jpg"), large)


def network_table(workers: list[Worker], peer: str, rounds: int) -> str:
    """Time the network alone, at full size."""
    names = [worker.name for worker in workers]
    base = names.index(peer)
    rows = ratio_rows(names, time_workers(workers, rounds, do="network"), base)
    for row, worker in zip(rows, workers, strict=True):
        difference = float(np.abs(np.subtract(worker.ab, workers[base].ab)).max())
        assert difference < MAX_AB_DIFFERENCE, f"{worker.name} differs by {difference} in ab"
        row += [f"{worker.info['peak_mib']:.0f}", f"{difference:.4f}"]
    header = ["", "ms", f"times as fast as {peer}", "peak MiB", "largest difference in ab"]
    return markdown_table(header, rows)


def photo_table(
    python: str, workers: list[Worker], model: BenchmarkModel, peer: str, rounds: int
) -> str:
    """Time photos from array to array, colorcv and the peer; peak memory in fresh processes."""
    rows = []
    for size_wh in SIZES_WH:
        own, other = time_workers(workers, rounds, do="photo", size=size_wh)
        row = [f"{size_wh[0]} × {size_wh[1]}", f"{median(own):.0f}", f"{median(other):.0f}"]
        peaks = (peaks_mib(python, name, model, size_wh)[1] for name in ("colorcv", peer))
        rows.append([*row, f"{speedup(own, other):.2f}", *(f"{peak:.0f}" for peak in peaks)])
    header = ["pixels", "colorcv ms", f"{peer} ms", "times as fast", "colorcv MiB", "peer MiB"]
    return markdown_table(header, rows)


def batch_sentence(workers: list[Worker], rounds: int) -> str:
    """Time JPEG files, read, coloured and written."""
    with tempfile.TemporaryDirectory() as scratch:
        source, out = Path(scratch, "batch"), Path(scratch, "out")
        write_batch(source)
        out.mkdir()
        own, other = time_workers(workers, rounds, do="files", folder=str(source), out=str(out))
    rates = [1e3 * BATCH_FILES / median(times) for times in (own, other)]
    return (
        f"{BATCH_FILES} JPEG files of 2000 × 1500, read, coloured, written: {rates[0]:.1f} "
        f"a second against {rates[1]:.1f}, {speedup(own, other):.2f} times as fast.\n"
    )


def huge_sentence(python: str, model: BenchmarkModel) -> str:
    """Measure the peak memory of one very large photo."""
    start = time.perf_counter()
    network, photo = peaks_mib(python, "colorcv", model, HUGE_WH)
    elapsed = time.perf_counter() - start
    image = HUGE_WH[0] * HUGE_WH[1] * 3 / 2**20
    return (
        f"{HUGE_WH[0]} × {HUGE_WH[1]} (image and result {image:.0f} MiB each): colorcv's peak is "
        f"{photo:.0f} MiB; above the network and the caller's image "
        f"{(photo - network - image) / image:.2f} times the result, itself included "
        f"({elapsed:.0f} s with start-up and making it).\n"
    )


def memory_table(python: str, model: BenchmarkModel, peer: str, rounds: int) -> str:
    """Measure the memory forms: the peak of the process and the network's speed."""
    names = [f"colorcv, {form}" for form in FORMS]
    workers = start_workers(python, [peer, *names], model)
    rows = ratio_rows([peer, *names], time_workers(workers, rounds, do="network"), 0)
    for row, worker in zip(rows, workers, strict=True):
        row.append(f"{worker.info['peak_mib']:.0f}")
        worker.close()
    return markdown_table(["", "ms", f"times as fast as {peer}", "peak MiB"], rows)


def lite_table(python: str, model: BenchmarkModel, peer: str, rounds: int) -> str:
    """Time the bundled model's network against the peer's full-size one."""
    lite = lite_model()
    names = ["colorcv", *([CAFFE] if peer == CAFFE else [])]  # OpenCV 5 has no Caffe importer
    workers = [*start_workers(python, names, lite), Worker(python, peer, model)]
    times = time_workers(workers, rounds, do="network")
    labels = ["lite: colorcv", *(f"lite: {name}" for name in names[1:]), f"full size: {peer}"]
    above_cv2 = workers[0].info["peak_mib"] - workers[0].info["cv2_mib"]
    for worker in workers:
        worker.close()
    table = markdown_table(["", "ms", "times as fast"], ratio_rows(labels, times, len(names)))
    return f"{table}\nlite's peak is {above_cv2:.0f} MiB above `import cv2`.\n"


def cold_start_table(python: str, model: BenchmarkModel, peer: str) -> str:
    """Time from nothing to the first prediction, files in the system's cache."""
    rows = []
    for label, files, name in (
        ("full size, colorcv", model, "colorcv"),
        (f"full size, {peer}", model, peer),
        ("lite, colorcv", lite_model(), "colorcv"),
    ):
        starts = []
        for _ in range(COLD_STARTS):
            with Worker(python, name, files) as worker:
                starts.append(worker.info)
        after_cv2 = median(info["load_s"] + info["first_s"] for info in starts)
        rows.append([label, f"{after_cv2:.2f}", f"{median(i['start_s'] for i in starts):.2f}"])
    return markdown_table(["", "s after `import cv2`", "s from the start of the process"], rows)


def import_table(python: str, rounds: int) -> str:
    """Time `import cv2` and `import cv2, colorcv` (with its main names) in turn."""
    statements = ("import cv2", "import cv2, colorcv", "import cv2, colorcv; colorcv.Colorizer")

    def time_statement(statement: str) -> float:
        code = f"import time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
        command = [python, "-c", code]
        completed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        return float(completed.stdout) * 1e3

    times = time_interleaved([partial(time_statement, s) for s in statements], rounds)
    rows = [
        [
            f"`{statement}`",
            f"{median(own):.0f}",
            f"{median(a - b for a, b in zip(own, times[0], strict=True)):.0f}",
        ]
        for statement, own in zip(statements, times, strict=True)
    ]
    return markdown_table(["statement", "ms", "ms above `import cv2`"], rows)


def report(python: str, model: BenchmarkModel, rounds: int) -> str:
    """Measure everything on one interpreter; return Markdown."""
    few = max(min(3, rounds), rounds // 3)
    names = ["colorcv", CAFFE, PLAIN_ONNX, "ONNX Runtime", "PyTorch eager"]
    workers = start_workers(python, names, model)
    version = workers[0].info["opencv"]
    peer = CAFFE if version.startswith("4") else PLAIN_ONNX
    network = network_table(workers, peer, rounds)
    for worker in workers:
        if worker.name not in ("colorcv", peer):
            worker.close()
    workers = [worker for worker in workers if worker.name in ("colorcv", peer)]
    photos = photo_table(python, workers, model, peer, few)
    batch = batch_sentence(workers, min(3, rounds))
    for worker in workers:
        worker.close()
    return "\n".join(
        [
            f"## OpenCV {version}\n",
            f"### The network alone, full size ({model.size} × {model.size})\n",
            network,
            "### A photo end to end, full size, 8-bit BGR array to array\n",
            photos,
            "The seeded network's colours are wild, and many lie outside of sRGB, where colorcv "
            "keeps the lightness and the tutorials' code clips.\n",
            batch,
            huge_sentence(python, model),
            "### Memory forms, network alone, full size\n",
            memory_table(python, model, peer, few),
            "### The small model, network alone (192 × 192)\n",
            lite_table(python, model, peer, rounds),
            "### Cold start to the first prediction, files in the system's cache\n",
            cold_start_table(python, model, peer),
            "### Importing\n",
            import_table(python, rounds),
        ]
    )


def main() -> None:
    """Measure on every interpreter given and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", action="append", help="an interpreter; repeat for each OpenCV")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("RESULTS.md"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = write_seeded_model(Path(folder))
        reports = [
            report(python, model, arguments.rounds)
            for python in arguments.python or [sys.executable]
        ]
    head = (
        f"# Measured\n\nBy `python -m benchmarks.run`; times are medians of {arguments.rounds} "
        f"rounds, two threads, full-size weights seeded at random.\n\n{machine()}\n"
    )
    arguments.output.write_text("\n".join([head, *reports]))


if __name__ == "__main__":
    main()
