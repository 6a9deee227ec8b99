"""Make the pictures of the page on steering: ``python docs/pictures/steering.py``.

From a sample photo and scikit-image's coffee (CC0, Rachel Michetti).
"""

from pathlib import Path

import cv2
import numpy as np
from skimage import data

import colorcv
from colorcv import Hint

HERE = Path(__file__).parent
PHOTOS = HERE.parents[1] / "examples" / "photos"
WIDTH, GAP = 330, 8
HINTS = [
    Hint(125, 230, "#1f6a78", radius=12),
    Hint(290, 152, "#b06a2c", radius=10),
    Hint(520, 130, "#a5713a", radius=10),
    Hint(195, 70, "#dcdcdc", radius=4),
]


def fit(image):
    """The image at the width of a column, BGR."""
    scale = WIDTH / image.shape[1]
    size_wh = WIDTH, round(image.shape[0] * scale)
    small = cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_GRAY2BGR) if small.ndim == 2 else small


def with_hints(image, hints):
    """The grey image with a disc of each hint's colour."""
    marked = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image.copy()
    radius = image.shape[1] // 40
    for hint in hints:
        red, green, blue = (int(hint.color[i : i + 2], 16) for i in (1, 3, 5))
        place = (int(hint.x), int(hint.y))
        cv2.circle(marked, place, radius, (255, 255, 255), cv2.FILLED, cv2.LINE_AA)
        cv2.circle(marked, place, radius - 4, (blue, green, red), cv2.FILLED, cv2.LINE_AA)
    return marked


def write(name, images):
    """A row of images, between white gaps."""
    columns = [fit(image) for image in images]
    gap = np.full((columns[0].shape[0], GAP, 3), 255, np.uint8)
    row = columns[0]
    for column in columns[1:]:
        row = np.hstack([row, gap, column])
    cv2.imwrite(str(HERE / name), row, [cv2.IMWRITE_JPEG_QUALITY, 88])


colorizer = colorcv.Colorizer("lite")

street = cv2.imread(str(PHOTOS / "saratoga_broadway_1900s.jpg"), cv2.IMREAD_GRAYSCALE)
write("steering_variants.jpg", colorizer.variants(street, 4))

coffee = data.coffee()[..., ::-1]
grey = cv2.cvtColor(np.ascontiguousarray(coffee), cv2.COLOR_BGR2GRAY)
steered = colorizer.colorize(grey, hints=HINTS)
write("steering_hints.jpg", [colorizer.colorize(grey), with_hints(grey, HINTS), steered])

middle = coffee.shape[1] // 2
left = np.ascontiguousarray(coffee[:, :middle])
right = cv2.cvtColor(np.ascontiguousarray(coffee[:, middle:]), cv2.COLOR_BGR2GRAY)
steered = colorizer.colorize(right, reference=left)
write("steering_reference.jpg", [left, colorizer.colorize(right), steered])
