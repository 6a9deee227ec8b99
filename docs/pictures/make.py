"""Make the README's picture: ``python docs/pictures/make.py``, from the sample photos."""

from pathlib import Path

import cv2
import numpy as np

import colorcv

PHOTOS = Path(__file__).parents[2] / "examples" / "photos"
HEIGHT, GAP = 360, 8

before, after = [], []
for name in ("tetons_1942", "saratoga_broadway_1900s", "migrant_mother_1936"):
    grey = cv2.imread(str(PHOTOS / f"{name}.jpg"))
    width = round(HEIGHT * grey.shape[1] / grey.shape[0])
    for row, picture in ((before, grey), (after, colorcv.colorize(grey, model="lite"))):
        small = cv2.resize(picture, (width, HEIGHT), interpolation=cv2.INTER_AREA)
        row += [small, np.full((HEIGHT, GAP, 3), 255, np.uint8)]
rows = [np.hstack(row[:-1]) for row in (before, after)]
rows.insert(1, np.full((GAP, rows[0].shape[1], 3), 255, np.uint8))
target = Path(__file__).with_name("before_after.jpg")
cv2.imwrite(str(target), np.vstack(rows), [cv2.IMWRITE_JPEG_QUALITY, 88])
