"""Time `colorcv image` on a folder, against the processor time of its stages on all cores.

    python -m benchmarks.many_photos [--files 24] [--rounds 3] PHOTO...

The photos are enlarged to 2000 x 1500 JPEG files and coloured by the bundled model. Start-up does
not count: the time is the difference between a folder of four files and one with `--files` more.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np

import colorcv
from benchmarks.baselines import Array

START_UP = 4  # files of the small folder
STAGES = 12  # files of which the stages are timed
JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95]


def write_files(folder: Path, photos: list[Array], count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        large = cv2.resize(
            photos[number % len(photos)], (2000, 1500), interpolation=cv2.INTER_CUBIC
        )
        cv2.imwrite(str(folder / f"{number:03}.jpg"), large)
    return folder


def run_s(folder: Path) -> float:
    """Return the seconds of the command on a folder."""
    command = [sys.executable, "-m", "colorcv", "image", str(folder), "--model", "lite", "-q",
               "--force", "-o", f"{folder}-out"]  # fmt: skip
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def stage_ms(paths: list[Path]) -> dict[str, float]:
    """Return the processor time of each stage in ms a file; colouring includes the network."""
    colorizer = colorcv.Colorizer("lite", device="cpu")
    found: dict[str, float] = {}

    def stage(name: str, work: Callable[[], Any]) -> Any:
        start = time.process_time()
        answer = work()
        found[name] = 1000 * (time.process_time() - start) / len(paths)
        return answer

    encoded = [np.fromfile(path, np.uint8) for path in paths]
    lightness = np.full(colorizer.input_hw, 50, np.float32)
    for _ in range(2):  # the first turn warms up
        images = stage("decoding", lambda: [cv2.imdecode(e, cv2.IMREAD_COLOR) for e in encoded])
        stage("network", lambda: [colorizer.predict_ab(lightness) for _ in paths])
        colored = stage("colouring", lambda images=images: [*map(colorizer.colorize, images)])
        stage("encoding", lambda colored=colored: [cv2.imencode(".jpg", c, JPEG) for c in colored])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--files", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    photos = [cv2.imread(str(path)) for path in arguments.photos]
    with tempfile.TemporaryDirectory() as scratch:
        few = write_files(Path(scratch, "few"), photos, START_UP)
        many = write_files(Path(scratch, "many"), photos, START_UP + arguments.files)
        seconds = median(-run_s(few) + run_s(many) for _ in range(arguments.rounds))
        found = stage_ms(sorted(many.iterdir())[:STAGES])
    cores = os.cpu_count() or 1
    bound = 1000 * cores / (found["decoding"] + found["colouring"] + found["encoding"])
    rate = arguments.files / seconds
    print(f"OpenCV {cv2.__version__}: {rate:.1f} files a second, {rate / bound:.0%} of {bound:.1f}")
    print(", ".join(f"{name} {ms:.1f}" for name, ms in found.items()), "ms of CPU time a file")


if __name__ == "__main__":
    main()
