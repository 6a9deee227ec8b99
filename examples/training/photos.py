"""Colour photos for the training: read, held out, and made to look like old ones."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from ..measures import GREY, lab_of

SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"}
KEPT_SIDE = 288  # pixels of a folder photo's short side that are kept


class Photos:
    """Encoded photos in memory, decoded on access: (H, W, 3) uint8 BGR.

    `source` is a folder of photos, read with its subfolders, or one of packs: ``NAME.bin`` holds
    photos one after the other, and ``NAME.offsets.npy`` the offset of each and of the end.
    """

    def __init__(self, source: Path) -> None:
        self.skipped: list[str] = []
        packs = sorted(source.glob("*.bin"))
        if not source.is_dir():
            raise ValueError(f"{source} is not a folder")
        self._encoded = [data for pack in packs for data in _of_pack(pack)] if packs else []
        if not packs:
            for path in sorted(source.rglob("*")):
                if path.suffix.lower() in SUFFIXES:
                    self._add(path)
        if not self._encoded:
            raise ValueError(f"{source} holds no colour photos that can be read, and no pack")

    def _add(self, path: Path) -> None:
        bgr = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
        if bgr is None:
            self.skipped.append(f"{path.name}: OpenCV cannot read it")
            return
        scale = min(1, KEPT_SIDE / min(bgr.shape[:2]))
        small = cv2.resize(bgr, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        if np.linalg.norm(lab_of(small)[..., 1:], axis=2).mean() < GREY:
            self.skipped.append(f"{path.name}: it has no colour to learn from")
            return
        self._encoded.append(cv2.imencode(".png", small)[1])

    def __len__(self) -> int:
        return len(self._encoded)

    def __getitem__(self, index: int):
        bgr = cv2.imdecode(self._encoded[index], cv2.IMREAD_COLOR)
        if bgr is None:
            raise ValueError(f"photo {index} cannot be decoded")
        return bgr


def _of_pack(path: Path) -> list:
    data = np.fromfile(path, np.uint8)
    offsets = np.load(path.with_suffix(".offsets.npy"))
    return [data[start:stop] for start, stop in pairwise(offsets)]


def sample(bgr, size: int, random: np.random.Generator):
    """Make a training pair: lightness (size, size), L* like an old photo's, and the true ab.

    The crop has 60 to 100 % of each side, drawn independently, so it is squeezed; half of the crops
    are mirrored. L* then gets contrast 0.75 to 1.25 and an offset of +-10, grain (15 % of crops)
    and blur (10 %); half of the crops that had to be enlarged are sharpened, because the photos
    that the model is for are reduced to its input and have detail there. ab is
    (size / 4, size / 4, 2), from the crop before these changes.
    """
    height, width = bgr.shape[:2]
    rows, columns = (max(8, round(side * random.uniform(0.6, 1))) for side in (height, width))
    top, left = random.integers(height - rows + 1), random.integers(width - columns + 1)
    crop = bgr[top : top + rows, left : left + columns]
    if random.random() < 0.5:
        crop = crop[:, ::-1]
    lab = lab_of(resize(np.ascontiguousarray(crop), size))
    ab = cv2.resize(lab[..., 1:], (size // 4, size // 4), interpolation=cv2.INTER_AREA)
    lightness = lab[..., 0]
    middle = lightness.mean()
    lightness = (lightness - middle) * random.uniform(0.75, 1.25) + middle
    lightness += random.uniform(-10, 10)
    if min(rows, columns) < size and random.random() < 0.5:
        blurred = cv2.GaussianBlur(lightness, (0, 0), 1.2 * size / min(rows, columns))
        lightness += (lightness - blurred) * random.uniform(0.3, 1.5)
    if random.random() < 0.1:
        lightness = cv2.GaussianBlur(lightness, (0, 0), random.uniform(0.5, 1.5))
    if random.random() < 0.15:
        grain = random.standard_normal(lightness.shape, np.float32) * random.uniform(1, 5)
        lightness = lightness + cv2.GaussianBlur(grain, (0, 0), random.uniform(0.3, 0.8))
    return lightness.clip(0, 100).astype(np.float32), ab


def resize(image, size: int):
    """Resize to (size, size): reduce by area, enlarge linearly."""
    how = cv2.INTER_AREA if min(image.shape[:2]) > size else cv2.INTER_LINEAR
    return cv2.resize(image, (size, size), interpolation=how)
