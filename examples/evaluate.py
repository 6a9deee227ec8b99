"""Measure a model on colour photos: make them grey, colour them, compare with the originals.

    python evaluate.py PHOTOS [--output evaluation] [--model lite] [--side 512]
                       [--files PROTOTXT CAFFEMODEL CENTERS] [--colorfulness 0.9]
                       [--hints N ...] [--reference]

Writes OUTPUT.csv, one line for each photo; OUTPUT.jpg, a contact sheet of original, input and
result; and OUTPUT.chart.png, error against colourfulness at several saturations: further down is
nearer to the originals, further right more colourful. Prints the table. The measures, each over all
pixels:

    psnr           peak signal to noise ratio of sRGB, dB; higher is nearer
    psnr_grey      the same for the photo left grey, to compare psnr with
    ssim           structural similarity of sRGB, 1 is equal
    ab_error       mean distance of a and b (CIE L*a*b*, D65)
    error          the same over that of the photo left grey; nan for an original without colour
    nearer         1 where error is below 1
    ciede2000      mean colour difference; about 1 can just be seen
    ciede2000_grey the same for the photo left grey
    colorful       colourfulness of the result (Hasler and Suesstrunk 2003): 0 grey, 15 slightly,
                   45 averagely, 82 highly, 109 extremely
    colorful_true  the same for the original
    patchiness     mean |gradient of ab| where the original's is below its own median

With --hints N, the true colours at N random places, the same in every run, are given as hints, and
psnr_N is the PSNR of the result; several N are allowed. With --reference, the left half of each
photo is the reference of its right half: psnr_half is the right half's PSNR without it,
psnr_reference with it.

A network that predicts pale colours only does well in the measures before colorful: compare them
with it, and look at the sheet. Models are best compared where they are equally colourful: with
--colorfulness, a last line has the measures at the saturation that gives that share of the
originals' colourfulness. The last lines are what `examples.training` prints too: the median error,
the share of photos nearer than grey, colourfulness over the originals'.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import math
import sys
from pathlib import Path

import cv2
import measures
import numpy as np
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import structural_similarity

import colorcv

SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"}
THUMB_HW, GAP, LABEL = (200, 280), 8, 26


def measure(original, colored, grey) -> dict[str, float]:
    """Compare a result with the original and with its grey; all (H, W, 3) uint8 RGB."""
    true_lab, colored_lab, grey_lab = map(rgb2lab, (original, colored, grey))
    shared = measures.measure(original[..., ::-1], colored[..., ::-1])
    return {
        "psnr": shared["psnr"],
        "psnr_grey": measures.psnr(original, grey),
        "ssim": structural_similarity(original, colored, channel_axis=2),
        "ab_error": np.linalg.norm((true_lab - colored_lab)[..., 1:], axis=2).mean(),
        "error": shared["error"],
        "nearer": shared["nearer"],
        "ciede2000": deltaE_ciede2000(true_lab, colored_lab).mean(),
        "ciede2000_grey": deltaE_ciede2000(true_lab, grey_lab).mean(),
        "colorful": shared["colorful"],
        "colorful_true": shared["colorful_true"],
        "patchiness": shared["patchiness"],
    }


def measure_hints(colorizer, original, grey, counts, seed: int) -> dict[str, float]:
    """Return the PSNR with the true colours at random places as hints."""
    places = np.random.default_rng(seed).permutation(grey.shape[0] * grey.shape[1])
    found = {}
    for count in counts:
        rows, columns = np.divmod(places[:count], grey.shape[1])
        hints = [
            colorcv.Hint(x, y, original[y, x].tolist()) for y, x in zip(rows, columns, strict=True)
        ]
        colored = colorizer.colorize(grey, order="rgb", hints=hints)
        found[f"psnr_{count}"] = measures.psnr(original, colored)
    return found


def measure_reference(colorizer, original, grey) -> dict[str, float]:
    """Return the PSNR of the right half, without and with the left half as its reference."""
    middle = original.shape[1] // 2
    left, right, half = original[:, :middle], original[:, middle:], grey[:, middle:]
    plain = colorizer.colorize(half, order="rgb")
    try:
        colored = colorizer.colorize(half, order="rgb", reference=left)
    except colorcv.ImageError:  # a grey half cannot be a reference
        return {"psnr_half": math.nan, "psnr_reference": math.nan}
    return {
        "psnr_half": measures.psnr(right, plain),
        "psnr_reference": measures.psnr(right, colored),
    }


def read_rgb(path: Path, side: int):
    """Return the photo upright, at most `side` pixels long, or None if it cannot be read."""
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if bgr is None:
        return None
    scale = min(1, side / max(bgr.shape[:2]))
    size_wh = max(7, round(bgr.shape[1] * scale)), max(7, round(bgr.shape[0] * scale))
    return cv2.cvtColor(cv2.resize(bgr, size_wh, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)


def measure_at(colorizer: colorcv.Colorizer, original, grey, saturation: float) -> dict[str, float]:
    """Colour a grey photo with a saturation and measure it; (H, W, 3) uint8 RGB."""
    colored = colorizer.colorize(grey, order="rgb", saturation=saturation)
    return measures.measure(original[..., ::-1], colored[..., ::-1])


def equally_colorful(colorizer: colorcv.Colorizer, pairs: list, target: float):
    """Return the saturation at which colourfulness is the target, and the summary there."""
    saturation = 1.0
    for _ in range(4):
        lines = [measure_at(colorizer, *pair, saturation) for pair in pairs]
        summary = measures.summarize(lines)
        if math.isnan(summary["colorfulness"]) or abs(summary["colorfulness"] - target) < 0.005:
            break
        saturation = min(10, saturation * target / max(summary["colorfulness"], 0.01))
    return saturation, summary


def thumb(rgb):
    """Return the image inside a white cell of the contact sheet, BGR."""
    scale = min(THUMB_HW[0] / rgb.shape[0], THUMB_HW[1] / rgb.shape[1])
    size_wh = max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale))
    small = cv2.resize(rgb, size_wh, interpolation=cv2.INTER_AREA)[..., ::-1]
    cell = np.full((THUMB_HW[0] + GAP, THUMB_HW[1] + GAP, 3), 255, np.uint8)
    top, left = ((THUMB_HW[i] - small.shape[i]) // 2 for i in (0, 1))
    cell[top : top + small.shape[0], left : left + small.shape[1]] = small
    return cell


def sheet_row(name: str, pictures, line: dict[str, float]):
    """Return one photo's row of the contact sheet: a caption above its three images."""
    caption = "{}   PSNR {psnr:.1f} (grey {psnr_grey:.1f})   CIEDE2000 {ciede2000:.1f}".format(
        name.encode("ascii", "replace").decode()[:40], **line
    )
    row = np.hstack([thumb(picture) for picture in pictures])
    label = np.full((LABEL, row.shape[1], 3), 255, np.uint8)
    style = (cv2.FONT_HERSHEY_SIMPLEX, 0.45, (60, 60, 60), 1, cv2.LINE_AA)
    return np.vstack([cv2.putText(label, caption, (4, 18), *style), row])


def contact_sheet(rows):
    """Lay out the rows in columns, so that the sheet of a large folder can still be opened."""
    in_column = math.ceil(math.sqrt(4 * len(rows)))
    rows = rows + [np.full_like(rows[0], 255)] * (-len(rows) % in_column)
    columns = [np.vstack(rows[i : i + in_column]) for i in range(0, len(rows), in_column)]
    return np.hstack(columns)


def chart(points: list[tuple[float, float, float]]):
    """Draw (saturation, colourfulness, error) as a line: colourfulness to the right, error up."""
    width, height, left, bottom, edge = 640, 480, 64, 56, 24
    picture = np.full((height, width, 3), 255, np.uint8)
    most = max(1.1, *(x for _, x, _ in points))
    errors = [y for _, _, y in points] + [1.0]
    low, high = math.floor(10 * min(errors)) / 10, math.ceil(10 * max(errors) + 0.1) / 10

    def at(x: float, y: float) -> tuple[int, int]:
        across = left + (width - left - edge) * x / most
        up = edge + (height - edge - bottom) * (high - y) / (high - low)
        return round(across), round(up)

    def write(text: str, place: tuple[int, int]) -> None:
        style = (cv2.FONT_HERSHEY_SIMPLEX, 0.45, (60, 60, 60), 1, cv2.LINE_AA)
        cv2.putText(picture, text, place, *style)

    for tick in np.arange(0, most + 0.01, 0.2):
        x, y = at(tick, low)
        cv2.line(picture, (x, edge), (x, y), (230, 230, 230), 1)
        write(f"{tick:.1f}", (x - 10, y + 18))
    for tick in np.arange(low, high + 0.01, 0.1):
        x, y = at(0, tick)
        is_grey = abs(tick - 1) < 0.01
        cv2.line(picture, (x, y), (width - edge, y), (150,) * 3 if is_grey else (230,) * 3, 1)
        write(f"{tick:.1f}", (x - 34, y + 5))
    write("colourfulness over the originals'", (width // 2 - 90, height - 14))
    write("median error over grey's (1: as far as grey)", (8, 14))
    places = [at(x, y) for _, x, y in points]
    for start, stop in itertools.pairwise(places):
        cv2.line(picture, start, stop, (160, 90, 30), 2, cv2.LINE_AA)
    for (saturation, _, _), place in zip(points, places, strict=True):
        cv2.circle(picture, place, 5, (160, 90, 30), cv2.FILLED, cv2.LINE_AA)
        write(f"{saturation:g}", (place[0] + 8, place[1] - 6))
    return picture


def mean_of(values: list[float]) -> float:
    """Return the mean of the values that are not nan; nan if there are none."""
    there = [value for value in values if not math.isnan(value)]
    return float(np.mean(there)) if there else math.nan


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
    parser.add_argument(
        "--files", type=Path, nargs=3, metavar=("PROTOTXT", "CAFFEMODEL", "CENTERS"),
        help="your own model's, in place of --model",
    )  # fmt: skip
    parser.add_argument("--saturation", type=float, default=1.0)
    parser.add_argument(
        "--colorfulness", type=float, help="also measure at the saturation that gives this"
    )
    parser.add_argument(
        "--saturations", type=float, nargs="+", default=[0.5, 0.75, 1, 1.25, 1.5],
        help="of the chart",
    )  # fmt: skip
    parser.add_argument("--side", type=int, default=512, help="longest side measured, pixels")
    parser.add_argument(
        "--hints", type=int, nargs="+", default=[], metavar="N", help="true colours to give away"
    )
    parser.add_argument(
        "--reference", action="store_true", help="measure halves as references of each other"
    )
    options = parser.parse_args()
    if not options.photos.is_dir():
        parser.error(f"{options.photos} is not a folder")

    if options.colorfulness is not None and not options.colorfulness > 0:
        parser.error(
            f"--colorfulness is {options.colorfulness:g}; take more than 0, 1 is the originals'"
        )

    model = options.model
    if options.files:
        prototxt, caffemodel, centers = options.files
        model = colorcv.ModelFiles(prototxt=prototxt, caffemodel=caffemodel, centers=centers)
    colorizer = colorcv.Colorizer(model)
    lines: list[dict] = []
    rows, pairs = [], []
    by_saturation: dict[float, list] = {value: [] for value in sorted(options.saturations)}
    for path in sorted(options.photos.iterdir()):
        if path.suffix.lower() not in SUFFIXES:
            continue
        original = read_rgb(path, options.side)
        if original is None:
            print(f"{path.name}: OpenCV cannot read it", file=sys.stderr)
            continue
        grey = colorizer.colorize(original, order="rgb", saturation=0)
        colored = colorizer.colorize(grey, order="rgb", saturation=options.saturation)
        line = measure(original, colored, grey)
        line |= measure_hints(colorizer, original, grey, options.hints, seed=len(lines))
        if options.reference:
            line |= measure_reference(colorizer, original, grey)
        lines.append({"photo": path.stem} | line)
        rows.append(sheet_row(path.stem, (original, grey, colored), line))
        pairs.append((original, grey))
        for saturation, measured in by_saturation.items():
            measured.append(measure_at(colorizer, original, grey, saturation))
    if not lines:
        parser.error(f"{options.photos} has no photos that can be read")

    names = list(lines[0])[1:]
    mean = {name: mean_of([line[name] for line in lines]) for name in names}
    print_table([*lines, {"photo": "MEAN"} | mean])
    with options.output.with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["photo", *names])
        writer.writeheader()
        writer.writerows(
            {key: value if key == "photo" else f"{value:.4f}" for key, value in line.items()}
            for line in lines
        )
    print(f"\nsaturation {options.saturation:g}: {measures.as_text(measures.summarize(lines))}")
    summaries = {value: measures.summarize(measured) for value, measured in by_saturation.items()}
    for saturation, summary in summaries.items():
        print(f"saturation {saturation:g}: {measures.as_text(summary)}")
    if options.colorfulness is not None:
        saturation, summary = equally_colorful(colorizer, pairs, options.colorfulness)
        print(f"saturation {saturation:.2f}: {measures.as_text(summary)}")
    pictures = {".jpg": contact_sheet(rows)}
    points = [(value, one["colorfulness"], one["error"]) for value, one in summaries.items()]
    if not any(math.isnan(error) for _, _, error in points):
        pictures[".chart.png"] = chart(points)
    for suffix, picture in pictures.items():
        if not cv2.imwrite(str(options.output.with_suffix(suffix)), picture):
            sys.exit(f"{options.output.with_suffix(suffix)} could not be written")
    print(f"{options.output}.csv, {', '.join(pictures)}: {len(lines)} photos")
    return 0


if __name__ == "__main__":
    sys.exit(main())
