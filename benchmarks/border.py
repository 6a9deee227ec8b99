"""Measure the effect of a border on the colours inside it, and how often borders are found.

    python -m benchmarks.border PHOTOS [--model lite] [--side 512]

Takes a folder of colour photos without borders. Each gets borders of every kind in turn; the grey
copy is coloured with and without `ignore_border`. Over the pixels inside, the error is the mean
distance of a* and b* from those of the photo, and the shift the mean distance from those predicted
without a border. The last line counts photos without a border in which one was found.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

import colorcv
from colorcv._typing import AnyArray, Float32Array
from colorcv.image.source import SourceImage

LEVELS = {"white": 255, "cream": 238, "black": 6}
# Top, bottom, left, right, as fractions of the photo.
SIDES = {
    "mat, 12 % a side": (0.12, 0.12, 0.12, 0.12),
    "mat, 4 % a side": (0.04, 0.04, 0.04, 0.04),
    "letterbox, 15 % a side": (0.15, 0.15, 0.0, 0.0),
}


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, help="folder of colour photos")
    parser.add_argument("--model", default="lite")
    parser.add_argument("--side", type=int, default=512, help="longest side in pixels")
    arguments = parser.parse_args()
    photos = [read(path, arguments.side) for path in sorted(arguments.photos.iterdir())]
    colorizer = colorcv.Colorizer(arguments.model)

    plain = [ab_inside(colorizer, photo, (0, 0, 0, 0), 0, False) for photo in photos]
    true = [ab(photo) for photo in photos]
    print("| border | error | error, ignored | shift | shift, ignored | found |")
    print("|---|---|---|---|---|---|")
    print(f"| none | {distance(plain, true):.2f} | | | | |")
    for kind, sides in SIDES.items():
        for name, level in LEVELS.items():
            results = [
                [ab_inside(colorizer, photo, sides, level, ignore) for photo in photos]
                for ignore in (False, True)
            ]
            cells = [distance(result, other) for other in (true, plain) for result in results]
            found = sum(is_found(add_border(grey(photo), sides, level)) for photo in photos)
            numbers = " | ".join(f"{cell:.2f}" for cell in cells)
            print(f"| {name} {kind} | {numbers} | {found} of {len(photos)} |")
    wrong = sum(is_found(grey(photo)) for photo in photos)
    print(f"| found where there is none | | | | | {wrong} of {len(photos)} |")


def read(path: Path, side: int) -> AnyArray:
    """Read a photo, (H, W, 3) uint8 BGR, reduced to `side` pixels."""
    photo = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if photo is None:
        raise SystemExit(f"{path} cannot be read")
    scale = min(1, side / max(photo.shape[:2]))
    size_wh = round(photo.shape[1] * scale), round(photo.shape[0] * scale)
    return np.asarray(cv2.resize(photo, size_wh, interpolation=cv2.INTER_AREA))


def grey(photo: AnyArray) -> AnyArray:
    """Return the photo without colour, of the same lightness."""
    return SourceImage(photo).colored(np.zeros((1, 1, 2), np.float32))[..., 0]


def add_border(image: AnyArray, sides: tuple[float, ...], level: int) -> AnyArray:
    """Return a grey image with a border around it that has the noise of a scan."""
    top, bottom, left, right = widths(image, sides)
    shape = image.shape[0] + top + bottom, image.shape[1] + left + right
    result = np.random.default_rng(0).normal(level, 2, shape)
    result[top : top + image.shape[0], left : left + image.shape[1]] = image
    return np.clip(result, 0, 255).astype(np.uint8)


def widths(image: AnyArray, sides: tuple[float, ...]) -> list[int]:
    """Return the widths in pixels: top, bottom, left, right."""
    height, width = image.shape[:2]
    return [round(s * size) for s, size in zip(sides, (height, height, width, width), strict=True)]


def ab_inside(
    colorizer: colorcv.Colorizer,
    photo: AnyArray,
    sides: tuple[float, ...],
    level: int,
    ignore: bool,
) -> Float32Array:
    """Add a border to a photo's grey copy, colour it, and return the ab inside the border."""
    top, _, left, _ = widths(photo, sides)
    bordered = add_border(grey(photo), sides, level)
    colored = colorizer.colorize(bordered, ignore_border="auto" if ignore else False)
    return ab(colored[top : top + photo.shape[0], left : left + photo.shape[1]])


def distance(results: list[Float32Array], others: list[Float32Array]) -> float:
    """Return the mean over photos of the mean distance of ab."""
    pairs = zip(results, others, strict=True)
    return float(np.mean([np.linalg.norm(a - b, axis=2).mean() for a, b in pairs]))


def ab(bgr: AnyArray) -> Float32Array:
    """Return a* and b*, (H, W, 2)."""
    lab = cv2.cvtColor(bgr.astype(np.float32) / 255, cv2.COLOR_BGR2LAB)
    return np.asarray(lab[..., 1:], np.float32)


def is_found(image: AnyArray) -> bool:
    """Return True if ``ignore_border="auto"`` finds a border."""
    height, width = image.shape
    return SourceImage(image, ignore_border="auto").inside != (slice(0, height), slice(0, width))


if __name__ == "__main__":
    main()
