"""Draw how it works, with the lite model's own numbers: ``python docs/pictures/figure.py``.

L* of a photo, the network's share for each of 313 colours at one place, ab, the result.
"""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path

import cv2
import numpy as np

import colorcv

HERE = Path(__file__).parent
LITE = Path(colorcv.__file__).parent / "models" / "lite"
PHOTO = HERE.parents[1] / "examples" / "photos" / "tetons_1942.jpg"
PLACE = (0.72, 0.12)  # right and down, shares of the photo: in the sky
SIDE, TOP, PIXELS = 210, 46, 336


def shares(lightness) -> np.ndarray:
    """The network's softmax, (h, w, 313), by its public face.

    The answer is the mean of the centres, weighted by the softmax. With centres that are all 0 but
    for one bin in a and another one in b, it is those two bins' shares.
    """
    planes = []
    with tempfile.TemporaryDirectory() as folder:
        for first in range(0, 313, 2):
            centers = np.zeros((313, 2), np.float32)
            for axis, index in enumerate(range(first, min(first + 2, 313))):
                centers[index, axis] = 100
            np.save(Path(folder) / "one_hot.npy", centers)
            files = colorcv.ModelFiles(
                prototxt=LITE / "colorcv_lite_v3.prototxt",
                caffemodel=LITE / "colorcv_lite_v3.caffemodel",
                centers=Path(folder) / "one_hot.npy",
            )
            planes.append(colorcv.Colorizer(files, device="cpu").predict_ab(lightness) / 100)
    return np.concatenate(planes, axis=2)[..., :313]


def bgr_of(lightness, ab) -> np.ndarray:
    lab = np.dstack([lightness, ab]).astype(np.float32)
    return (255 * cv2.cvtColor(lab, cv2.COLOR_LAB2BGR).clip(0, 1)).round().astype(np.uint8)


def hex_of(lightness: float, ab) -> str:
    blue, green, red = bgr_of(np.full((1, 1), lightness), np.reshape(ab, (1, 1, 2)))[0, 0]
    return f"#{red:02x}{green:02x}{blue:02x}"


def image(picture, left: float, what: int = cv2.INTER_AREA) -> str:
    square = cv2.resize(picture, (PIXELS, PIXELS), interpolation=what)
    data = base64.b64encode(cv2.imencode(".jpg", square, [cv2.IMWRITE_JPEG_QUALITY, 80])[1])
    address = f"data:image/jpeg;base64,{data.decode()}"
    return f'<image x="{left}" y="{TOP}" width="{SIDE}" height="{SIDE}" href="{address}"/>'


def title(left: float, head: str, *lines: str) -> str:
    middle = left + SIDE / 2
    below = "".join(
        f'<text x="{middle}" y="{TOP + SIDE + 22 + 18 * i}">{line}</text>'
        for i, line in enumerate(lines)
    )
    return f'<text x="{middle}" y="{TOP - 14}" class="head">{head}</text>{below}'


def arrow(left: float) -> str:
    y = TOP + SIDE / 2
    return f'<path d="M{left + 6} {y}h22m-8 -7l8 7l-8 7" class="arrow"/>'


def draw() -> str:
    photo = cv2.imread(str(PHOTO))
    side = min(photo.shape[:2])
    photo = photo[-side:, -side:]
    colorizer = colorcv.Colorizer("lite", device="cpu")
    grey = cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY)
    bgr = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    full = cv2.cvtColor(bgr.astype(np.float32) / 255, cv2.COLOR_BGR2LAB)[..., 0]
    rows, columns = colorizer.input_hw
    lightness = cv2.resize(full, (columns, rows), interpolation=cv2.INTER_AREA)
    ab = colorizer.predict_ab(lightness)
    centers = np.load(LITE / "pts_in_hull.npy").astype(np.float32)
    row, column = int(PLACE[1] * ab.shape[0]), int(PLACE[0] * ab.shape[1])
    here = shares(lightness)[row, column]
    assert abs(here.sum() - 1) < 1e-3
    assert abs(here @ centers - ab[row, column]).max() < 0.1  # the annealed mean is the answer

    step = SIDE + 34
    lefts = [10 + i * step for i in range(4)]
    scale = SIDE / 240  # the ab plane is drawn from -120 to 120

    def at(point) -> tuple[float, float]:
        return lefts[1] + SIDE / 2 + point[0] * scale, TOP + SIDE / 2 - point[1] * scale

    bins = []
    for point, share in zip(centers, here, strict=True):
        x, y = at(point)
        size = 10 * scale * (0.35 + 1.1 * np.sqrt(share / here.max()))
        fill = hex_of(62, point)
        bins.append(
            f'<rect x="{x - size / 2:.1f}" y="{y - size / 2:.1f}" width="{size:.1f}" '
            f'height="{size:.1f}" fill="{fill}"/>'
        )
    mean_x, mean_y = at(ab[row, column])
    mark_x, mark_y = lefts[0] + PLACE[0] * SIDE, TOP + PLACE[1] * SIDE
    size = ab.shape[0]
    parts = [
        image(bgr, lefts[0]),
        f'<circle cx="{mark_x}" cy="{mark_y}" r="7" class="mark"/>',
        title(lefts[0], "lightness L*", f"{rows} × {columns} of the photo", "go into the network"),
        arrow(lefts[0] + SIDE),
        f'<rect x="{lefts[1]}" y="{TOP}" width="{SIDE}" height="{SIDE}" class="plane"/>',
        f'<path d="M{lefts[1]} {TOP + SIDE / 2}h{SIDE}M{lefts[1] + SIDE / 2} {TOP}v{SIDE}"'
        ' class="axis"/>',
        f'<text x="{lefts[1] + SIDE - 8}" y="{TOP + SIDE / 2 - 6}" class="name">a</text>',
        f'<text x="{lefts[1] + SIDE / 2 + 9}" y="{TOP + 14}" class="name">b</text>',
        *bins,
        f'<circle cx="{mean_x:.1f}" cy="{mean_y:.1f}" r="5" class="mean"/>',
        title(lefts[1], "a share for each of 313 colours", "at every place (here: the ring);",
              "their annealed mean is the dot"),
        arrow(lefts[1] + SIDE),
        image(bgr_of(np.full(ab.shape[:2], 66), ab), lefts[2], cv2.INTER_NEAREST),
        title(lefts[2], "colour ab", f"{size} × {size}, shown at one lightness",
              f"(the photo gets {colorizer.default_saturation:g} times as much)"),
        arrow(lefts[2] + SIDE),
        image(colorizer.colorize(photo), lefts[3]),
        title(lefts[3], "the photo in colour", "ab at full size along the edges",
              "of the photo’s own L*, untouched"),
    ]  # fmt: skip
    width, height = lefts[3] + SIDE + 10, TOP + SIDE + 56
    style = (
        "text{font:13px system-ui,sans-serif;fill:#444;text-anchor:middle}"
        ".head{font-size:15px;font-weight:600;fill:#222}.name{font-style:italic;fill:#888}"
        ".arrow{fill:none;stroke:#666;stroke-width:2}.axis{stroke:#ccc}"
        ".plane{fill:#fff;stroke:#ddd}"
        ".mark{fill:none;stroke:#fff;stroke-width:3;filter:drop-shadow(0 0 2px #000)}"
        ".mean{fill:#000;stroke:#fff;stroke-width:2}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" aria-label="From lightness to 313 colours to ab to the '
        f'coloured photo"><style>{style}</style>'
        f'<rect width="100%" height="100%" rx="8" fill="#faf9f6"/>{"".join(parts)}</svg>\n'
    )


if __name__ == "__main__":
    (HERE / "how_it_works.svg").write_text(draw(), encoding="utf-8")
