"""Make an example folder in one style: crops of photos, graded like faded postcards.

    python -m examples.training.postcards PHOTOS OUT [--count 200]

Skies and shadows turn to teal, lights to cream, everything else to rose and ochre.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from ..measures import lab_of

SIDE = 224


def grade(bgr):
    """Return a photo with the palette of the style and its own lightness."""
    lab = lab_of(bgr)
    light, a, b = (lab[..., i] for i in range(3))
    warm = 1 / (1 + np.exp(-(b + 0.5 * a) / 8))  # 0 for blues and greens, 1 for reds and yellows
    lab[..., 1] = -14 * (1 - warm) + 16 * warm
    lab[..., 2] = -6 * (1 - warm) + 20 * warm + 8 * (light / 100) ** 2
    return (255 * cv2.cvtColor(lab, cv2.COLOR_LAB2BGR)).clip(0, 255).round().astype(np.uint8)


def main() -> None:
    """Write the crops."""
    parser = argparse.ArgumentParser(description="Make a folder of one style.")
    parser.add_argument("photos", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=200)
    options = parser.parse_args()
    photos = [cv2.imread(str(path)) for path in sorted(options.photos.iterdir())]
    photos = [photo for photo in photos if photo is not None]
    if not photos:
        parser.error(f"{options.photos} has no photos that can be read")
    options.out.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for index in range(options.count):
        photo = photos[index % len(photos)]
        side = round(min(photo.shape[:2]) * random.uniform(0.5, 1))
        top, left = (random.integers(extent - side + 1) for extent in photo.shape[:2])
        crop = photo[top : top + side, left : left + side]
        small = cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(options.out / f"{index:03d}.jpg"), grade(small))
    print(f"{options.out}: {options.count} crops of {len(photos)} photos")


if __name__ == "__main__":
    main()
