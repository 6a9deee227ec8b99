"""Colour photos on a Dask cluster: a folder of this machine, or a list of addresses.

    python photos.py SCANS COLORED                              # workers of its own, here
    python photos.py SCANS COLORED --scheduler tcp://host:8786  # a cluster that is running
    python photos.py addresses.txt COLORED                      # one address a line

Photos of a folder travel to the workers and come back; addresses are fetched by the workers. So
nothing but the network is shared. Only a window of photos is under way at a time. A photo whose
worker dies is given to another; one that is here already is left alone.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from distributed import Client, Future, as_completed
from tqdm import tqdm

SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"}
RETRIES = 3  # of a fetch that fails; a dead worker's photos are given to others anyway
LARGEST_FETCH = 200_000_000  # bytes


def fetch(address: str) -> bytes:
    import requests

    content = bytearray()
    with requests.get(address, stream=True, timeout=(10, 60)) as answer:
        answer.raise_for_status()
        for block in answer.iter_content(1 << 20):
            content += block
            if len(content) > LARGEST_FETCH:
                raise OSError(f"{address}: over {LARGEST_FETCH // 1_000_000} MB")
    return bytes(content)


def color(photo: bytes | str, suffix: str, model: str, saturation: float) -> tuple[bytes, str]:
    """Colour one photo on a worker: its bytes, or an address, to the result's bytes or an error.

    `colorcv.colorize` keeps one Colorizer in each process, so the network is built once there.
    """
    import cv2
    import numpy as np

    import colorcv

    content = fetch(photo) if isinstance(photo, str) else photo
    try:
        # Upright and of its own depth, as colorcv reads a file; alpha is not kept.
        flags = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR
        picture = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
        if picture is None:
            return b"", "not a picture that OpenCV can read"
        colored = colorcv.colorize(picture, model=model, saturation=saturation)
        ok, encoded = cv2.imencode(suffix, colored)
    except (colorcv.ImageError, cv2.error) as err:
        return b"", str(err)
    return (encoded.tobytes(), "") if ok else (b"", f"OpenCV cannot write {suffix}")


def list_photos(source: Path) -> Iterator[tuple[PurePosixPath, Path | str]]:
    """Pairs of the result's name and the photo: a path, or an address."""
    if source.is_dir():
        for path in sorted(source.rglob("*")):
            if path.suffix.lower() in SUFFIXES and path.is_file():
                yield PurePosixPath(path.relative_to(source).as_posix()), path
        return
    for line in source.read_text(encoding="utf-8").splitlines():
        if address := line.strip():
            path = PurePosixPath(unquote(urlsplit(address).path))
            known = path.suffix.lower() in SUFFIXES
            yield PurePosixPath(path.name if known else f"{path.name or 'photo'}.jpg"), address


def run(client: Client, source: Path, target: Path, model: str, saturation: float) -> list[str]:
    """Colour what is not there yet, and return a line for each photo that failed."""
    names: dict[Path, Path | str] = {}
    failed = []
    for name, photo in list_photos(source):
        if target / name in names:
            failed.append(f"{photo}: another result has the name {name} already")
        else:
            names[target / name] = photo
    todo = [item for item in names.items() if not item[0].exists()]
    upcoming = iter(todo)
    going: dict[Future, Path] = {}
    results = as_completed()

    def submit(count: int) -> None:
        for path, photo in islice(upcoming, count):
            content = photo if isinstance(photo, str) else photo.read_bytes()
            future = client.submit(
                color, content, path.suffix, model, saturation, pure=False, retries=RETRIES
            )
            going[future] = path
            results.add(future)

    submit(3 * sum(client.nthreads().values()))
    for future in tqdm(results, total=len(todo), unit="photo"):
        path = going.pop(future)
        if future.status == "finished":
            content, problem = future.result()
        else:
            content, problem = b"", str(future.exception())
        if content:
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f".{path.name}.part")
            part.write_bytes(content)
            part.replace(path)
        else:
            failed.append(f"{names[path]}: {problem}")
        submit(1)
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description="Colour photos on a Dask cluster.")
    parser.add_argument("source", type=Path, help="a folder, or a text file of addresses")
    parser.add_argument("colored", type=Path, help="a folder for the results")
    parser.add_argument("--scheduler", help="tcp://host:8786; default: workers on this machine")
    parser.add_argument("--workers", type=int, default=2, help="where there is no --scheduler")
    parser.add_argument("--model", default="lite")
    parser.add_argument("--saturation", type=float, default=1.0)
    options = parser.parse_args()
    if not options.source.exists():
        parser.error(f"{options.source} is not there")
    own = {"n_workers": options.workers, "threads_per_worker": 1, "dashboard_address": None}
    with Client(options.scheduler, **({} if options.scheduler else own)) as client:
        failed = run(client, options.source, options.colored, options.model, options.saturation)
    for line in failed:
        print(line, file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
