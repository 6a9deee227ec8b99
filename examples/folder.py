"""Colour a tree of scans, with a progress bar and a report of every file.

    python folder.py SCANS COLORED [--model lite] [--saturation 0.9]

The tree is kept. Existing files are not overwritten, so an interrupted run resumes where it
stopped. COLORED/report.csv has a line for each file.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import cv2
from tqdm import tqdm

import colorcv

SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"}
COLUMNS = ("file", "outcome", "width", "height", "seconds")


def write_image(target: Path, image) -> None:
    """Write an image in the format of the suffix; the file appears only once it is complete."""
    ok, encoded = cv2.imencode(target.suffix, image)
    if not ok:
        raise OSError(f"{target.name}: cannot write {target.suffix}")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    part.write_bytes(encoded)
    part.replace(target)


def color_one(relative: Path, *, scans: Path, colored: Path, colorizer, saturation: float) -> dict:
    """Colour one file of the tree and return its line of the report."""
    target = colored / relative
    line = dict.fromkeys(COLUMNS, "") | {"file": relative.as_posix(), "outcome": "coloured"}
    if target.exists():
        return line | {"outcome": "exists"}
    start = time.perf_counter()
    try:
        image = colorizer.colorize(scans / relative, saturation=saturation)
        write_image(target, image)
    except (colorcv.ImageError, OSError, cv2.error) as err:
        return line | {"outcome": f"failed: {err}"}
    seconds = f"{time.perf_counter() - start:.2f}"
    return line | {"height": image.shape[0], "width": image.shape[1], "seconds": seconds}


def main() -> int:
    parser = argparse.ArgumentParser(description="Colour a tree of scans.")
    parser.add_argument("scans", type=Path)
    parser.add_argument("colored", type=Path)
    parser.add_argument("--model", default="lite")
    parser.add_argument("--saturation", type=float, default=1.0)
    options = parser.parse_args()
    if not options.scans.is_dir():
        parser.error(f"{options.scans} is not a folder")
    if options.colored.resolve().is_relative_to(options.scans.resolve()):
        parser.error("COLORED is inside SCANS; choose a folder outside of it")

    files = sorted(
        path.relative_to(options.scans)
        for path in options.scans.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )
    colorizer = colorcv.Colorizer(options.model)
    work = partial(
        color_one,
        scans=options.scans,
        colored=options.colored,
        colorizer=colorizer,
        saturation=options.saturation,
    )
    # Threads may share a Colorizer: while one image is in the network, another is read or written.
    with ThreadPoolExecutor(2) as threads:
        report = list(tqdm(threads.map(work, files), total=len(files), unit="photo"))

    options.colored.mkdir(parents=True, exist_ok=True)
    with (options.colored / "report.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(report)
    failed = [line for line in report if line["outcome"].startswith("failed")]
    for line in failed:
        print(f"{line['file']}: {line['outcome']}", file=sys.stderr)
    print(f"{len(report) - len(failed)} of {len(report)} files are in {options.colored}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
