"""Wall and processor time of the stages of one large photo, with the small model.

    python -m benchmarks.photo_stages PHOTO [--rounds 9] [--megapixels 12] [--threads 2]

The photo, a real one, is enlarged to the size. The stages are those of `Colorizer.colorize` and,
for JPEG, of reading and writing the file; all run one after the other, so that what is left
to win by a second core shows: a stage whose processor time equals its wall time runs on one core.
The spreads are the middle 80 % of the wall times over their median, of the network and of the sum.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np

import colorcv
from benchmarks.harness import THREADS, machine, markdown_table
from benchmarks.photos import KINDS, enlarged, spread
from colorcv.color.lab import upsample_chroma
from colorcv.frames import predict_chroma
from colorcv.image.io import read_image, write_image
from colorcv.image.source import SourceImage

STAGES = ("read", "border", "lightness", "network", "colours", "write")


class Stages:
    """Milliseconds of each stage by round: wall and processor."""

    def __init__(self) -> None:
        self.times: dict[str, list[tuple[float, float]]] = {}

    def run(self, stage: str, work: Callable[[], Any]) -> Any:
        wall, processor = time.perf_counter(), time.process_time()
        result = work()
        elapsed = time.perf_counter() - wall, time.process_time() - processor
        self.times.setdefault(stage, []).append((1e3 * elapsed[0], 1e3 * elapsed[1]))
        return result

    def row(self) -> list[str]:
        """Return "wall / processor" of each stage and of their sum, and two spreads."""
        cells, total = [], np.zeros(2)
        for stage in STAGES:
            if stage not in self.times:
                cells.append("")
                continue
            middle = np.array([median(column) for column in zip(*self.times[stage], strict=True)])
            total += middle
            cells.append(f"{middle[0]:.0f} / {middle[1]:.0f}")
        walls = {stage: [wall for wall, _ in times] for stage, times in self.times.items()}
        sums = [sum(one) for one in zip(*walls.values(), strict=True)]
        spreads = spread([walls["network"]]), spread([sums])
        return [*cells, f"{total[0]:.0f} / {total[1]:.0f}", *(f"{one:.0%}" for one in spreads)]


def color(colorizer: colorcv.Colorizer, pixels: Any, stages: Stages) -> Any:
    """Colour a photo as `Colorizer.colorize` does."""
    image = stages.run("border", lambda: SourceImage(pixels, ignore_border="auto"))
    small = stages.run("lightness", lambda: image.lightness_at(colorizer.input_hw))
    chroma = stages.run("network", lambda: upsample_chroma(predict_chroma(colorizer, small), small))
    return stages.run("colours", lambda: image.colored(chroma))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photo", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--megapixels", type=int, default=12)
    parser.add_argument("--threads", type=int, default=THREADS)
    arguments = parser.parse_args()
    cv2.setNumThreads(arguments.threads)
    colorizer = colorcv.Colorizer("lite", device="cpu")
    photo = enlarged(arguments.photo, arguments.megapixels)
    rows = []
    for name, convert in KINDS.items():
        pixels = convert(photo)
        color(colorizer, pixels, Stages())
        stages = Stages()
        for _ in range(arguments.rounds):
            color(colorizer, pixels, stages)
        rows.append([name, *stages.row()])
    with tempfile.TemporaryDirectory() as folder:
        path, output = Path(folder, "photo.jpg"), Path(folder, "colored.jpg")
        cv2.imwrite(str(path), photo)
        stages = Stages()
        for _ in range(arguments.rounds):
            file = stages.run("read", lambda: read_image(path))
            result = color(colorizer, file.pixels, stages)
            stages.run("write", lambda: write_image(output, result, file.metadata, overwrite=True))  # noqa: B023
        rows.append(["JPEG to JPEG", *stages.row()])
    print(f"## OpenCV {cv2.__version__}, {machine()}\n\nms: wall / processor\n")
    header = ["photo", *STAGES, "sum", "spread of the network", "of the sum"]
    print(markdown_table(header, rows))


if __name__ == "__main__":
    main()
