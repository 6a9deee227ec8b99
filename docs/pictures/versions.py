"""Show models side by side: ``python docs/pictures/versions.py PHOTOS FOLDER[@FACTOR]...``

For each photo of PHOTOS: as it is, then as each model colours it, whose files are in a FOLDER, with
a factor on chroma.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

import colorcv

CELL, GAP = 300, 6


def load(argument: str) -> tuple[colorcv.Colorizer, float]:
    """The colorizer of FOLDER[@FACTOR], and the factor."""
    folder, _, factor = argument.partition("@")
    prototxt, caffemodel, centers = (
        next(Path(folder).glob(f"*.{suffix}")) for suffix in ("prototxt", "caffemodel", "npy")
    )
    files = colorcv.ModelFiles(prototxt=prototxt, caffemodel=caffemodel, centers=centers)
    return colorcv.Colorizer(files, device="cpu"), float(factor or 1)


def cell(picture):
    """The picture inside a white square."""
    scale = CELL / max(picture.shape[:2])
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    square = np.full((CELL + GAP, CELL + GAP, 3), 255, np.uint8)
    square[: small.shape[0], : small.shape[1]] = small
    return square[: small.shape[0] + GAP]


parser = argparse.ArgumentParser()
parser.add_argument("photos", type=Path)
parser.add_argument("models", nargs="+")
parser.add_argument("--output", type=Path, default=Path(__file__).with_name("versions.jpg"))
options = parser.parse_args()
models = [load(argument) for argument in options.models]
rows = []
for path in sorted(options.photos.iterdir()):
    photo = cv2.imread(str(path))
    if photo is None:
        continue
    colored = [colorizer.colorize(photo, saturation=factor) for colorizer, factor in models]
    rows.append(np.hstack([cell(picture) for picture in (photo, *colored)]))
cv2.imwrite(str(options.output), np.vstack(rows), [cv2.IMWRITE_JPEG_QUALITY, 82])
