"""Measure a model on colour photos: take their colour away, colour them, compare with the original.

    python evaluate.py PHOTOS [--output evaluation] [--model lite] [--side 512]

Writes OUTPUT.csv, one line for each photo, and OUTPUT.jpg, a contact sheet: the original, what
the network saw, what it answered. Prints the table. What is measured, each over all pixels:

    psnr           peak signal to noise ratio of sRGB, dB; higher is nearer
    psnr_grey      the same for the photo left grey, to hold psnr against
    ssim           structural similarity of sRGB, 1 is equal
    ab_error       mean distance of a and b (CIE L*a*b*, D65)
    ciede2000      mean colour difference; about 1 can just be seen
    ciede2000_grey the same for the photo left grey
    colorful       colourfulness of the result (Hasler and Suesstrunk 2003): 0 grey, 15 slightly,
                   45 averagely, 82 highly, 109 extremely
    colorful_true  the same for the original

A network that never dares a colour does well in the first five: read them beside the last two,
and look at the sheet.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
from pathlib import Path

import cv2
import numpy as np
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

import colorcv

SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"}
THUMB_HW, GAP, LABEL = (200, 280), 8, 26


def colorfulness(rgb) -> float:
    """Hasler and Suesstrunk, "Measuring colourfulness in natural images", 2003, section 5."""
    red, green, blue = (rgb[..., i].astype(np.float64) for i in range(3))
    opponents = red - green, (red + green) / 2 - blue
    spread = np.hypot(*(channel.std() for channel in opponents))
    offset = np.hypot(*(channel.mean() for channel in opponents))
    return float(spread + 0.3 * offset)


def measure(original, colored, grey) -> dict[str, float]:
    """Compare a result with the original and with its grey; all (H, W, 3) uint8 RGB."""
    true_lab, colored_lab, grey_lab = map(rgb2lab, (original, colored, grey))
    return {
        "psnr": peak_signal_noise_ratio(original, colored),
        "psnr_grey": peak_signal_noise_ratio(original, grey),
        "ssim": structural_similarity(original, colored, channel_axis=2),
        "ab_error": np.linalg.norm((true_lab - colored_lab)[..., 1:], axis=2).mean(),
        "ciede2000": deltaE_ciede2000(true_lab, colored_lab).mean(),
        "ciede2000_grey": deltaE_ciede2000(true_lab, grey_lab).mean(),
        "colorful": colorfulness(colored),
        "colorful_true": colorfulness(original),
    }


def read_rgb(path: Path, side: int):
    """The photo upright, at most `side` pixels long, or None if it cannot be read."""
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if bgr is None:
        return None
    scale = min(1, side / max(bgr.shape[:2]))
    size_wh = max(7, round(bgr.shape[1] * scale)), max(7, round(bgr.shape[0] * scale))
    return cv2.cvtColor(cv2.resize(bgr, size_wh, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)


def thumb(rgb):
    """The picture inside a white cell of the contact sheet, BGR."""
    scale = min(THUMB_HW[0] / rgb.shape[0], THUMB_HW[1] / rgb.shape[1])
    size_wh = max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale))
    small = cv2.resize(rgb, size_wh, interpolation=cv2.INTER_AREA)[..., ::-1]
    cell = np.full((THUMB_HW[0] + GAP, THUMB_HW[1] + GAP, 3), 255, np.uint8)
    top, left = ((THUMB_HW[i] - small.shape[i]) // 2 for i in (0, 1))
    cell[top : top + small.shape[0], left : left + small.shape[1]] = small
    return cell


def sheet_row(name: str, pictures, measures: dict[str, float]):
    """One photo's row of the contact sheet: a caption above its three pictures."""
    caption = "{}   PSNR {psnr:.1f} (grey {psnr_grey:.1f})   CIEDE2000 {ciede2000:.1f}".format(
        name.encode("ascii", "replace").decode()[:40], **measures
    )
    row = np.hstack([thumb(picture) for picture in pictures])
    label = np.full((LABEL, row.shape[1], 3), 255, np.uint8)
    style = (cv2.FONT_HERSHEY_SIMPLEX, 0.45, (60, 60, 60), 1, cv2.LINE_AA)
    return np.vstack([cv2.putText(label, caption, (4, 18), *style), row])


def contact_sheet(rows):
    """The rows in columns, so that the sheet of a large folder can still be opened."""
    in_column = math.ceil(math.sqrt(4 * len(rows)))
    rows = rows + [np.full_like(rows[0], 255)] * (-len(rows) % in_column)
    columns = [np.vstack(rows[i : i + in_column]) for i in range(0, len(rows), in_column)]
    return np.hstack(columns)


def print_table(lines: list[dict]) -> None:
    columns = list(lines[0])
    width = max(len(str(line["photo"])) for line in lines)
    print(" ".join([f"{'photo':{width}}", *(f"{name:>14}" for name in columns[1:])]))
    for line in lines:
        values = (f"{line[name]:14.2f}" for name in columns[1:])
        print(" ".join([f"{line['photo']:{width}}", *values]))


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure a model on colour photos.")
    parser.add_argument("photos", type=Path)
    parser.add_argument("--output", type=Path, default=Path("evaluation"))
    parser.add_argument("--model", default="lite")
    parser.add_argument("--saturation", type=float, default=1.0)
    parser.add_argument("--side", type=int, default=512, help="longest side measured, pixels")
    options = parser.parse_args()
    if not options.photos.is_dir():
        parser.error(f"{options.photos} is not a folder")

    colorizer = colorcv.Colorizer(options.model)
    lines: list[dict] = []
    rows = []
    for path in sorted(options.photos.iterdir()):
        if path.suffix.lower() not in SUFFIXES:
            continue
        original = read_rgb(path, options.side)
        if original is None:
            print(f"{path.name}: OpenCV cannot read it", file=sys.stderr)
            continue
        grey = colorizer.colorize(original, order="rgb", saturation=0)
        colored = colorizer.colorize(grey, order="rgb", saturation=options.saturation)
        measures = measure(original, colored, grey)
        lines.append({"photo": path.stem} | measures)
        rows.append(sheet_row(path.stem, (original, grey, colored), measures))
    if not lines:
        parser.error(f"{options.photos} has no photos that can be read")

    names = list(lines[0])[1:]
    mean = {name: float(np.mean([line[name] for line in lines])) for name in names}
    print_table([*lines, {"photo": "MEAN"} | mean])
    with options.output.with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["photo", *names])
        writer.writeheader()
        writer.writerows(
            {key: value if key == "photo" else f"{value:.4f}" for key, value in line.items()}
            for line in lines
        )
    sheet = options.output.with_suffix(".jpg")
    if not cv2.imwrite(str(sheet), contact_sheet(rows)):
        sys.exit(f"{sheet} could not be written")
    print(f"{options.output.with_suffix('.csv')} and {sheet}: {len(lines)} photos")
    return 0


if __name__ == "__main__":
    sys.exit(main())
