"""Make the picture of the limits: ``python docs/pictures/limits.py``, from the sample photos.

Where the small model goes wrong: colour that spills over, a wrong guess, and what it leaves grey.
"""

from pathlib import Path

import cv2
import numpy as np

import colorcv

PHOTOS = Path(__file__).parents[2] / "examples" / "photos"
SIZE_WH, GAP = (320, 240), 8
# Photo, and left, top and width of what is shown of it.
PARTS = (
    ("saratoga_broadway_1900s", 540, 130, 280),
    ("migrant_mother_1936", 30, 30, 440),
    ("saratoga_broadway_1900s", 370, 380, 240),
)

columns = []
for name, left, top, width in PARTS:
    path = PHOTOS / f"{name}.jpg"
    window = np.s_[top : top + width * SIZE_WH[1] // SIZE_WH[0], left : left + width]
    pair = [
        cv2.resize(picture[window], SIZE_WH, interpolation=cv2.INTER_CUBIC)
        for picture in (cv2.imread(str(path)), colorcv.colorize(path, model="lite"))
    ]
    pair.insert(1, np.full((GAP, SIZE_WH[0], 3), 255, np.uint8))
    columns += [np.vstack(pair), np.full((2 * SIZE_WH[1] + GAP, GAP, 3), 255, np.uint8)]
target = Path(__file__).with_name("limits.jpg")
cv2.imwrite(str(target), np.hstack(columns[:-1]), [cv2.IMWRITE_JPEG_QUALITY, 88])
