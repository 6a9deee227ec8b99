"""Make the training page's picture: ``python docs/pictures/training.py STYLE MODEL``.

STYLE is the folder that `examples.training.postcards` made of photos/color's astronaut, chelsea,
coffee and rocket among others; MODEL holds what was exported after the fine-tuning. The first row
shows some of STYLE, the others the sample photos as lite and as MODEL colours them.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

import colorcv

PHOTOS = Path(__file__).parents[2] / "examples" / "photos"
HEIGHT, GAP = 240, 6

parser = argparse.ArgumentParser()
parser.add_argument("style", type=Path)
parser.add_argument("model", type=Path)
parser.add_argument("--crops", nargs="+", default=["000", "001", "003", "008"])
options = parser.parse_args()
files = colorcv.ModelFiles(
    prototxt=next(options.model.glob("*.prototxt")),
    caffemodel=next(options.model.glob("*.caffemodel")),
    centers=options.model / "pts_in_hull.npy",
)


def row(pictures):
    """The pictures at one height, side by side."""
    cells = []
    for picture in pictures:
        width = round(HEIGHT * picture.shape[1] / picture.shape[0])
        cells += [cv2.resize(picture, (width, HEIGHT), interpolation=cv2.INTER_AREA)]
        cells += [np.full((HEIGHT, GAP, 3), 255, np.uint8)]
    return np.hstack(cells[:-1])


names = ("tetons_1942", "saratoga_broadway_1900s", "migrant_mother_1936")
photos = [cv2.imread(str(PHOTOS / f"{name}.jpg")) for name in names]
rows = [
    row([cv2.imread(str(options.style / f"{name}.jpg")) for name in options.crops]),
    row([colorcv.colorize(photo, model="lite") for photo in photos]),
    row([colorcv.colorize(photo, model=files) for photo in photos]),
]
width = max(picture.shape[1] for picture in rows)
padded = [
    cv2.copyMakeBorder(
        picture, 0, GAP, 0, width - picture.shape[1], cv2.BORDER_CONSTANT, value=(255,) * 3
    )
    for picture in rows
]
target = Path(__file__).with_name("training.jpg")
cv2.imwrite(str(target), np.vstack(padded), [cv2.IMWRITE_JPEG_QUALITY, 85])
