"""Time large photos, colorcv and the code of the usual tutorials in turn.

    python -m benchmarks.photos PHOTO... [--rounds 20] [--megapixels 12 50]

Both run the bundled model, so that only the rest differs: reading, conversion, upsampling, writing.
The photos, real ones, are enlarged to the size. Prints medians, the median of the ratios within
a turn, and the spread: the middle 80 % of a side's times, each over the median of its photo. The
spread alone is that of colorcv's turns one after the other, before the turns of both: the
tutorials' code allocates and frees a gigabyte in each turn, which the other side's next one feels.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np

import colorcv
from benchmarks.baselines import Array
from benchmarks.harness import THREADS, machine, markdown_table


def tutorial(colorizer: colorcv.Colorizer, photo: Array) -> Array:
    """Colour a photo, (H, W) or (H, W, 3) of uint8 or uint16, in float32 Lab at full size."""
    if photo.ndim == 2:
        photo = cv2.cvtColor(photo, cv2.COLOR_GRAY2BGR)
    white = np.iinfo(photo.dtype).max
    lab = cv2.cvtColor(photo.astype(np.float32) / white, cv2.COLOR_BGR2LAB)
    small = cv2.resize(cv2.split(lab)[0], colorizer.input_hw[::-1])
    ab = colorizer.predict_ab(small.clip(0, 100)) * np.float32(colorizer.default_saturation)
    ab = cv2.resize(ab, photo.shape[1::-1])
    lab = np.concatenate((cv2.split(lab)[0][:, :, np.newaxis], ab), axis=2)
    return (white * np.clip(cv2.cvtColor(lab, cv2.COLOR_LAB2BGR), 0, 1)).astype(photo.dtype)


def milliseconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - start)


def spread(times: list[list[float]]) -> float:
    """Return the middle 80 % of the times, each over the median of its photo."""
    relative = np.concatenate([np.array(one) / median(one) for one in times])
    low, high = np.percentile(relative, (10, 90))
    return float(high - low)


def time_pair(
    own: Callable[[Any], Any], other: Callable[[Any], Any], photos: list[Any], rounds: int
) -> list[str]:
    """Return the columns of one row; the first turn of each side is not counted."""
    own(photos[0])
    alone: list[list[float]] = [[] for _ in photos]
    for index, photo in enumerate(photos * (rounds // len(photos))):
        alone[index % len(photos)].append(milliseconds(partial(own, photo)))
    other(photos[0])
    mine: list[list[float]] = [[] for _ in photos]
    theirs: list[list[float]] = [[] for _ in photos]
    for turn in range(rounds):
        index = turn % len(photos)
        mine[index].append(milliseconds(partial(own, photos[index])))
        theirs[index].append(milliseconds(partial(other, photos[index])))
    pairs = list(zip(chain(*mine), chain(*theirs), strict=True))
    return [
        f"{median(a for a, _ in pairs):.0f}", f"{median(b for _, b in pairs):.0f}",
        f"{median(b / a for a, b in pairs):.2f}", f"{median(chain(*alone)):.0f}",
        *(f"{spread(times):.0%}" for times in (alone, mine, theirs)),
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--megapixels", nargs="+", type=int, default=[12, 50])
    arguments = parser.parse_args()
    cv2.setNumThreads(THREADS)
    colorizer = colorcv.Colorizer("lite", device="cpu")
    rows = []
    for size in arguments.megapixels:
        photos = [enlarged(path, size) for path in arguments.photos]
        for name, convert in KINDS.items():
            kind = [convert(photo) for photo in photos]
            other = partial(tutorial, colorizer)
            columns = time_pair(colorizer.colorize, other, kind, arguments.rounds)
            rows.append([f"{size} MP, {name}", *columns])
            print(rows[-1], flush=True)
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder, f"{number}.jpg") for number in range(len(photos))]
            for path, photo in zip(paths, photos, strict=True):
                cv2.imwrite(str(path), photo)
            own, other = own_file(colorizer), tutorial_file(colorizer)
            columns = time_pair(own, other, paths, arguments.rounds)
            rows.append([f"{size} MP, JPEG to JPEG", *columns])
            print(rows[-1], flush=True)
    print(f"\n## OpenCV {cv2.__version__}, {machine()}\n")
    header = [
        "photo", "colorcv ms", "tutorial ms", "times as fast", "colorcv alone ms", "spread alone",
        "in turn", "of the tutorial",
    ]  # fmt: skip
    print(markdown_table(header, rows))


def enlarged(path: Path, megapixels: int) -> Array:
    photo = cv2.imread(str(path))
    scale = (1e6 * megapixels / (photo.shape[0] * photo.shape[1])) ** 0.5
    return cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)


KINDS: dict[str, Callable[[Array], Array]] = {
    "8-bit colour": lambda photo: photo,
    "8-bit grey": lambda photo: cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY),
    "16-bit colour": lambda photo: photo.astype(np.uint16) * 257,
    "16-bit grey": lambda photo: cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY).astype(np.uint16) * 257,
}


def own_file(colorizer: colorcv.Colorizer) -> Callable[[Path], None]:
    from colorcv.image.io import read_image, write_image

    def colour(path: Path) -> None:
        image = read_image(path)
        result = colorizer.colorize(image.pixels)
        write_image(path.with_suffix(".own.jpg"), result, image.metadata, overwrite=True)

    return colour


def tutorial_file(colorizer: colorcv.Colorizer) -> Callable[[Path], None]:
    def colour(path: Path) -> None:
        cv2.imwrite(str(path.with_suffix(".other.jpg")), tutorial(colorizer, cv2.imread(str(path))))

    return colour


if __name__ == "__main__":
    main()
