"""Measure hints and references against the originals and Levin's method, and an editor's times.

    python -m benchmarks.steering FOLDER [FOLDER ...] [--model lite] [--levin N] [--repeats 3]

The folders hold colour photos. Each is reduced to the network's input size; the input is its
lightness, and the hints are the true ab at random places (the same for every method). PSNR is that
of sRGB against the photo at this size. As a reference, each photo's left half is used for its right
half, each coloured by itself. Levin is A. Levin, D. Lischinski, Y. Weiss, "Colorization using
Optimization", SIGGRAPH 2004, solved with SciPy on the first N photos. Prints Markdown.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

import colorcv
from benchmarks.harness import PHOTO, markdown_table
from colorcv import Hint
from colorcv.color.gamut import bgr_from_lab
from colorcv.color.lab import ab_from_bgr
from colorcv.image.source import SourceImage
from colorcv.steering.editing import Reference, SteeredImage, resize_pixels
from colorcv.steering.hints import Observed

Array = npt.NDArray[Any]
COUNTS = (1, 5, 10, 50)
LEVIN_COUNTS = (5, 10, 50)
SUFFIXES = {".jpg", ".jpeg", ".png"}


class Photo:
    """A colour photo at the network's input size, and the network's prediction for it."""

    def __init__(self, colorizer: colorcv.Colorizer, bgr: Array) -> None:
        self.bgr = bgr
        source = SourceImage(bgr)
        small = resize_pixels(bgr, colorizer.input_hw).astype(np.float32) / 255
        self.ab = ab_from_bgr(small)
        self.seen = SteeredImage(colorizer, source.lightness_at(colorizer.input_hw))
        self._rgb = self._render(self.ab)

    def _render(self, ab: Array) -> Array:
        lab = np.column_stack([self.seen.lightness.reshape(-1), ab.reshape(-1, 2)])
        return np.asarray(np.rint(255 * bgr_from_lab(lab.astype(np.float32))))

    def psnr(self, ab: Array) -> float:
        """Return the PSNR of sRGB in dB."""
        return float(10 * np.log10(255**2 / np.mean((self._render(ab) - self._rgb) ** 2)))

    def observed(self, count: int, seed: tuple[int, ...]) -> Observed:
        """Return the true ab of random places."""
        cells = np.random.default_rng(seed).permutation(self.ab.shape[0] * self.ab.shape[1])
        chosen = cells[:count]
        return Observed(chosen, self.ab.reshape(-1, 2)[chosen])


def levin(lightness: Array, cells: Array, values: Array) -> Array:
    """Return ab, (H, W, 2), propagated from a few values: Levin et al. 2004, windows of 3x3."""
    from scipy import sparse
    from scipy.sparse.linalg import splu

    height, width = lightness.shape
    index = np.arange(height * width).reshape(height, width)
    light = lightness.astype(np.float64) / 100
    mean = cv2.blur(light, (3, 3))
    variance = np.maximum(cv2.blur(light * light, (3, 3)) - mean * mean, 2e-6)
    rows, columns, weights = [], [], []
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            if down == right == 0:
                continue
            here = np.s_[max(0, -down) : height - max(0, down),
                         max(0, -right) : width - max(0, right)]  # fmt: skip
            there = np.s_[max(0, down) : height + min(0, down),
                          max(0, right) : width + min(0, right)]  # fmt: skip
            likeness = np.exp(-((light[here] - light[there]) ** 2) / (1.2 * variance[here]))
            rows.append(index[here].ravel())
            columns.append(index[there].ravel())
            weights.append(np.maximum(likeness, 1e-6).ravel())
    row, column, weight = map(np.concatenate, (rows, columns, weights))
    weight /= np.bincount(row, weight)[row]
    is_free = np.ones(height * width, bool)
    is_free[cells] = False
    off = sparse.coo_matrix((-weight * is_free[row], (row, column)), shape=(index.size,) * 2)
    system = splu((off + sparse.identity(index.size)).tocsc())
    known = np.zeros((index.size, 2))
    known[cells] = values
    return np.asarray(system.solve(known)).reshape(height, width, 2)


def hints_table(photos: list[Photo], repeats: int) -> str:
    """Return a table of PSNR and the share of photos that get worse, by number of hints."""
    start = np.array([photo.psnr(photo.seen.guess) for photo in photos])
    rows: list[list[str]] = [["0", f"{start.mean():.2f}", "", "", ""]]
    for count in COUNTS:
        found = np.array(
            [
                [
                    photo.psnr(photo.seen.chroma(photo.observed(count, (index, repeat))))
                    for repeat in range(repeats)
                ]
                for index, photo in enumerate(photos)
            ]
        )
        gain = found - start[:, np.newaxis]
        rows.append(
            [
                str(count),
                f"{found.mean():.2f}",
                f"{gain.mean():+.2f}",
                f"{100 * np.mean(gain < -0.1):.0f} %",
                f"{100 * np.mean(gain.mean(axis=1) < -0.1):.0f} %",
            ]
        )
    head = ["hints", "PSNR, dB", "gain, dB", "trials worse by > 0.1 dB", "photos worse on average"]
    return markdown_table(head, rows)


def levin_table(photos: list[Photo]) -> str:
    """Return a table of the PSNR of both methods with the same hints."""
    rows = []
    for count in LEVIN_COUNTS:
        ours, alone, residual, seconds = [], [], [], []
        for index, photo in enumerate(photos):
            observed = photo.observed(count, (index, 0))
            guess = photo.seen.guess
            ours.append(photo.psnr(photo.seen.chroma(observed)))
            start = time.perf_counter()
            alone.append(photo.psnr(levin(photo.seen.lightness, *observed)))
            seconds.append(time.perf_counter() - start)
            off = observed.ab - guess.reshape(-1, 2)[observed.cells]
            residual.append(photo.psnr(guess + levin(photo.seen.lightness, observed.cells, off)))
        means = [f"{np.mean(values):.2f}" for values in (ours, alone, residual)]
        rows.append([str(count), *means, f"{median(seconds):.1f}"])
    head = ["hints", "colorcv", "Levin, hints alone", "Levin, on the residual", "seconds of Levin"]
    return markdown_table(head, rows)


def reference_table(colorizer: colorcv.Colorizer, photos: list[Photo]) -> str:
    """Return a table of the PSNR of right halves, without and with left halves as references."""
    before, after = [], []
    for photo in photos:
        middle = photo.bgr.shape[1] // 2
        left, right = np.ascontiguousarray(photo.bgr[:, :middle]), photo.bgr[:, middle:]
        half = Photo(colorizer, np.ascontiguousarray(right))
        before.append(half.psnr(half.seen.guess))
        after.append(half.psnr(half.seen.chroma(reference=Reference(colorizer, left))))
    gain = np.array(after) - before
    worse = f"{100 * np.mean(gain < -0.1):.0f} %"
    return markdown_table(
        ["guess, dB", "with the reference, dB", "gain, dB", "photos worse by > 0.1 dB"],
        [[f"{np.mean(before):.2f}", f"{np.mean(after):.2f}", f"{gain.mean():+.2f}", worse]],
    )


def times_table(colorizer: colorcv.Colorizer) -> str:
    """Return a table of the time from one more hint to a 1600-pixel preview."""
    grey = cv2.resize(cv2.imread(str(PHOTO), cv2.IMREAD_GRAYSCALE), (4000, 3000))
    rows = []
    for count in (1, 10, 50, 300):
        session = colorizer.session(grey)
        random = np.random.default_rng(0)
        for _ in range(count):
            session.add(Hint(float(random.uniform(0, 3999)), float(random.uniform(0, 2999)), "tan"))
        session.render(max_side=1600)
        taken = []
        for _ in range(9):
            key = session.add(Hint(1000, 1000, "teal"))
            start = time.perf_counter()
            session.render(max_side=1600)
            taken.append(1000 * (time.perf_counter() - start))
            session.remove(key)
        rows.append([str(count), f"{min(taken):.0f}", f"{median(taken):.0f}"])
    return markdown_table(["hints", "ms, fastest of 9", "ms, median"], rows)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--model", default="lite")
    parser.add_argument("--levin", type=int, default=9, metavar="N")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    colorizer = colorcv.Colorizer(options.model, device="cpu")
    paths = [path for folder in options.folders for path in sorted(folder.iterdir())]
    images = [cv2.imread(str(path)) for path in paths if path.suffix.lower() in SUFFIXES]
    photos = [Photo(colorizer, image) for image in images if image is not None]
    print(f"OpenCV {cv2.__version__}, {options.model}, {len(photos)} photos\n")
    print(f"## Hints\n\n{hints_table(photos, options.repeats)}\n", flush=True)
    if options.levin:
        some = photos[: options.levin]
        print(f"## Levin et al. 2004, {len(some)} photos\n\n{levin_table(some)}\n", flush=True)
    print(f"## Reference\n\n{reference_table(colorizer, photos)}\n", flush=True)
    print(f"## One more hint, 1600-pixel preview\n\n{times_table(colorizer)}\n")


if __name__ == "__main__":
    main()
