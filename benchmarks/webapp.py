"""Load the web app with visitors who upload, edit and download: errors, times, peak memory.

    python -m benchmarks.webapp [--uploads 200] [--clients 8] [--minutes 20]

Starts examples/webapp/app.py on a free port of 127.0.0.1 and stops it at the end, or after
`--minutes`. Each client sends its photos one after the other: a third each of 0.5, 3 and 24
megapixels. For each it waits for the preview, asks for suggestions, paints a stroke, paints a
second one, undoes it (which must give the very preview from before), takes the colours of a
reference in every fourth session, and downloads the result at full size, whose lightness must be
that of the upload. Needs Flask and waitress.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import cv2
import numpy as np
import requests

from benchmarks.harness import PHOTO, ROOT, machine, markdown_table

MEGAPIXELS = (0.5, 3, 24)
COLORS = ("#b05a5a", "#5a7ab0", "#6f9a55", "#c9b27a")
TIMEOUT_S = 180
STEPS = ("upload to preview", "suggestions", "stroke to preview", "undo to preview",
         "reference to preview", "download")  # fmt: skip


class Failure(Exception):
    """An answer that a visitor would call an error."""


class Visitor:
    """One visitor: a connection, and the times of everything that was asked for."""

    def __init__(self, address: str, times: dict[str, list[float]], deadline: float) -> None:
        self.address, self.times, self.deadline = address, times, deadline
        self.http = requests.Session()
        grey = cv2.imread(str(PHOTO), cv2.IMREAD_GRAYSCALE)
        colors = cv2.applyColorMap(grey, cv2.COLORMAP_AUTUMN)
        self.reference = cv2.imencode(".jpg", colors)[1].tobytes()
        self.busy = 0  # answers 503, after which the page tries again

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        while True:
            if time.monotonic() > self.deadline:
                raise Failure("the time is over")
            answer = self.http.request(method, self.address + path, timeout=TIMEOUT_S, **options)
            if answer.status_code == 503:
                self.busy += 1
                time.sleep(1)
                continue
            if not answer.ok:
                raise Failure(f"{method} {re.sub('/[^/]{20,}', '/ID', path)}: {answer.text[:100]}")
            return answer

    @contextlib.contextmanager
    def timed(self, step: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.times[step].append(time.monotonic() - start)

    def preview(self, photo: str, saturation: float = 1) -> bytes:
        return self.ask("GET", f"{photo}/after.jpg?saturation={saturation}").content

    def paint(self, photo: str, hints: list[dict[str, Any]]) -> bytes:
        self.ask("POST", f"{photo}/hints", json={"hints": hints})
        return self.preview(photo)

    def edit_one(self, upload: bytes, luma: np.ndarray, number: int) -> None:
        """Send one photo, edit it, and check and download its results."""
        rng = np.random.default_rng(number)
        with self.timed("upload to preview"):
            files, data = {"photo": (f"photo {number}.jpg", upload)}, {"model": "lite"}
            photo = "/photos/" + self.ask("POST", "/photos", files=files, data=data).json()["id"]
            while (state := self.ask("GET", photo).json())["state"] == "waiting":
                time.sleep(0.1)
            if state["state"] != "done":
                raise Failure(f"upload: {state['error']}")
            first = self.preview(photo)
        width, height = state["width"], state["height"]
        with self.timed("suggestions"):
            x, y = rng.uniform(0, width - 1), rng.uniform(0, height - 1)
            found = self.ask("GET", f"{photo}/suggestions?x={x}&y={y}").json()
        strokes = [stroke(rng, width, height) for _ in range(2)]
        strokes[0][0]["color"] = found[0]["color"]
        with self.timed("stroke to preview"):
            painted = self.paint(photo, strokes[0])
        with self.timed("stroke to preview"):
            both = self.paint(photo, strokes[0] + strokes[1])
        with self.timed("undo to preview"):
            undone = self.paint(photo, strokes[0])
        if undone != painted or first == painted or both == painted:
            raise Failure("undo did not give the preview from before")
        if number % 4 == 0:
            with self.timed("reference to preview"):
                files = {"photo": ("reference.jpg", self.reference)}
                self.ask("POST", f"{photo}/reference", files=files)
                self.preview(photo)
        with self.timed("download"):
            result = self.ask("GET", f"{photo}/result.jpg?saturation=1.2").content
        pixels = cv2.imdecode(np.frombuffer(result, np.uint8), cv2.IMREAD_COLOR)
        if pixels.shape[:2] != (height, width):
            raise Failure(f"the result has {pixels.shape[1]}x{pixels.shape[0]} pixels")
        small = cv2.cvtColor(cv2.resize(pixels, luma.shape[::-1], interpolation=cv2.INTER_AREA),
                             cv2.COLOR_BGR2LAB)[..., 0]  # fmt: skip
        if np.abs(small.astype(int) - luma).mean() > 3:
            raise Failure("the result has another lightness than the upload")
        if number % 5 == 0:
            self.ask("DELETE", photo)


def stroke(rng: np.random.Generator, width: int, height: int) -> list[dict[str, Any]]:
    """Return the points of a horizontal stroke in one colour."""
    color = str(rng.choice(COLORS))
    y, left = rng.uniform(0.1, 0.9) * height, rng.uniform(0, 0.7) * width
    points = np.linspace(left, left + 0.25 * width, 40)
    return [{"x": x, "y": y, "color": color, "radius": width / 60} for x in points]


def make_uploads() -> list[tuple[bytes, np.ndarray]]:
    """Return a grey JPEG of each size, with its lightness in a small copy."""
    grey = cv2.imread(str(PHOTO), cv2.IMREAD_GRAYSCALE)
    uploads = []
    for megapixels in MEGAPIXELS:
        scale = (megapixels * 1e6 / grey.size) ** 0.5
        image = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        small = cv2.resize(image, (200, 150), interpolation=cv2.INTER_AREA)
        lightness = cv2.cvtColor(cv2.cvtColor(small, cv2.COLOR_GRAY2BGR), cv2.COLOR_BGR2LAB)[..., 0]
        uploads.append((cv2.imencode(".jpg", image)[1].tobytes(), lightness))
    return uploads


@contextlib.contextmanager
def running_app() -> Iterator[tuple[str, int]]:
    """Start the app; yield its address and process ID."""
    command = [sys.executable, "app.py", "--listen=127.0.0.1:0"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command,
        cwd=ROOT / "examples" / "webapp",
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                if found := re.search(r"Serving on (http://127\.0\.0\.1:\d+)", line):
                    break
                sys.stderr.write(line)
            else:
                sys.exit("the app did not start")
            threading.Thread(target=sys.stderr.writelines, args=[process.stderr],
                             daemon=True).start()  # fmt: skip
            yield found[1], process.pid
        finally:
            process.terminate()


def memory_mb(pid: int, field: str) -> float:
    """Return VmRSS or VmHWM of a process in MB; NaN where the system does not tell."""
    status = Path(f"/proc/{pid}/status")
    found = re.search(rf"{field}:\s+(\d+)", status.read_text()) if status.exists() else None
    return int(found[1]) / 1e3 if found else float("nan")


def cpu_s(pid: int) -> float:
    """Return the seconds of CPU time of a process; NaN where the system does not tell."""
    status = Path(f"/proc/{pid}/stat")
    if not status.exists():
        return float("nan")
    fields = status.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> int:
    """Print the figures; the exit code is 1 if a visitor met an error."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--uploads", type=int, default=200)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--minutes", type=float, default=20)
    options = parser.parse_args()
    uploads = make_uploads()
    times: dict[str, list[float]] = {step: [] for step in STEPS}
    errors: Counter[str] = Counter()
    numbers = iter(range(options.uploads))
    lock = threading.Lock()

    def visit(visitor: Visitor) -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            try:
                visitor.edit_one(*uploads[number % len(uploads)], number)
            except (Failure, requests.RequestException) as err:
                errors[str(err)[:200]] += 1

    start = time.monotonic()
    deadline = start + options.minutes * 60
    with running_app() as (address, pid):
        before = memory_mb(pid, "VmRSS")
        visitors = [Visitor(address, times, deadline) for _ in range(options.clients)]
        with ThreadPoolExecutor(options.clients) as pool:
            list(pool.map(visit, visitors))
        kept = requests.get(f"{address}/health", timeout=TIMEOUT_S).json()["photos"]
        seconds = cpu_s(pid)
        peak, after = memory_mb(pid, "VmHWM"), memory_mb(pid, "VmRSS")
    done = len(times["download"])
    print(f"{done} of {options.uploads} photos done by {options.clients} clients in "
          f"{time.monotonic() - start:.0f} s ({seconds:.0f} s of CPU), "
          f"{sum(errors.values())} errors, "
          f"{sum(visitor.busy for visitor in visitors)} answers 503\n"
          f"memory: {before:.0f} MB before, {peak:.0f} MB at the peak, {after:.0f} MB after, "
          f"{kept} photos kept\n{machine()}, OpenCV {cv2.__version__}\n")  # fmt: skip
    rows = [
        [step, str(len(own)), f"{median(own):.2f}", f"{quantiles(own, n=20)[-1]:.2f}"]
        for step, own in times.items() if len(own) > 1
    ]  # fmt: skip
    print(markdown_table(["step", "count", "median, s", "95th percentile, s"], rows))
    for error, count in errors.most_common():
        print(f"{count} times: {error}")
    return 1 if errors or done < options.uploads else 0


if __name__ == "__main__":
    sys.exit(main())
