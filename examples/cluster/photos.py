"""Colour photos on a Dask cluster: a folder of this machine, or a list of URLs.

    python photos.py SCANS COLORED                              # workers on this machine
    python photos.py SCANS COLORED --scheduler tcp://host:8786  # an existing cluster
    python photos.py urls.txt COLORED                           # one URL per line

Photos of a folder are sent to the workers and back; the workers download URLs, so no shared folder
is needed. Only a few photos per worker are in flight. A photo whose worker dies
is given to another. Existing results are not overwritten, so an interrupted run resumes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from distributed import Client, Future, as_completed
from tqdm import tqdm

SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"}
RETRIES = 3  # of a download that fails; a dead worker's photos are given to others anyway
MAX_DOWNLOAD = 200_000_000  # bytes


def download(url: str) -> bytes:
    import requests

    content = bytearray()
    with requests.get(url, stream=True, timeout=(10, 60)) as response:
        response.raise_for_status()
        for block in response.iter_content(1 << 20):
            content += block
            if len(content) > MAX_DOWNLOAD:
                raise OSError(f"{url}: over {MAX_DOWNLOAD // 1_000_000} MB")
    return bytes(content)


def color(photo: bytes | str, suffix: str, model: str, saturation: float) -> tuple[bytes, str]:
    """Colour one photo on a worker: its bytes or URL to the result's bytes, or an error.

    `colorcv.colorize` keeps one Colorizer per process, so the network is built once per worker.
    It reads a photo upright and keeps its depth and alpha.
    """
    import cv2

    import colorcv

    content = download(photo) if isinstance(photo, str) else photo
    try:
        colored = colorcv.colorize(content, model=model, saturation=saturation)
        ok, encoded = cv2.imencode(suffix, colored)
    except (colorcv.ImageError, cv2.error) as err:
        return b"", str(err)
    return (encoded.tobytes(), "") if ok else (b"", f"cannot write {suffix}")


def list_photos(source: Path) -> Iterator[tuple[PurePosixPath, Path | str]]:
    """Yield the result's name and the photo: a path or a URL."""
    if source.is_dir():
        for path in sorted(source.rglob("*")):
            if path.suffix.lower() in SUFFIXES and path.is_file():
                yield PurePosixPath(path.relative_to(source).as_posix()), path
        return
    for line in source.read_text(encoding="utf-8").splitlines():
        if url := line.strip():
            path = PurePosixPath(unquote(urlsplit(url).path))
            known = path.suffix.lower() in SUFFIXES
            yield PurePosixPath(path.name if known else f"{path.name or 'photo'}.jpg"), url


def run(client: Client, source: Path, target: Path, model: str, saturation: float) -> list[str]:
    """Colour what has no result yet, and return a line for each photo that failed."""
    names: dict[Path, Path | str] = {}
    failed = []
    for name, photo in list_photos(source):
        if target / name in names:
            failed.append(f"{photo}: another photo has the result {name}")
        else:
            names[target / name] = photo
    todo = [item for item in names.items() if not item[0].exists()]
    upcoming = iter(todo)
    in_flight: dict[Future, Path] = {}
    results = as_completed()
    bar = tqdm(total=len(todo), unit="photo")

    def submit(count: int) -> None:
        """Submit the next photos; one that cannot be read fails, and the next takes its place."""
        while count and (item := next(upcoming, None)):
            path, photo = item
            try:
                content = photo if isinstance(photo, str) else photo.read_bytes()
            except OSError as err:
                failed.append(f"{photo}: {err.strerror or err}")
                bar.update()
                continue
            future = client.submit(
                color, content, path.suffix, model, saturation, pure=False, retries=RETRIES
            )
            in_flight[future] = path
            results.add(future)
            count -= 1

    submit(3 * sum(client.nthreads().values()))
    for future in results:
        bar.update()
        path = in_flight.pop(future)
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
    bar.close()
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description="Colour photos on a Dask cluster.")
    parser.add_argument("source", type=Path, help="a folder, or a text file of URLs")
    parser.add_argument("colored", type=Path, help="a folder for the results")
    parser.add_argument("--scheduler", help="tcp://host:8786; default: workers on this machine")
    parser.add_argument("--workers", type=int, default=2, help="without --scheduler")
    parser.add_argument("--model", default="lite")
    parser.add_argument("--saturation", type=float, default=1.0)
    options = parser.parse_args()
    if not options.source.exists():
        parser.error(f"{options.source} does not exist")
    local = {"n_workers": options.workers, "threads_per_worker": 1, "dashboard_address": None}
    with Client(options.scheduler, **({} if options.scheduler else local)) as client:
        failed = run(client, options.source, options.colored, options.model, options.saturation)
    for line in failed:
        print(line, file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
