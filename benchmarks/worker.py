"""One contestant in a process of its own: reads orders as JSON lines, answers likewise.

    python -m benchmarks.worker NAME FILES

The first line it writes says how long it took from the start of the process to the first answer;
then {"do": "network"}, {"do": "photo", "size": [width, height]} or {"do": "files", "folder": ...,
"out": ...} are timed one at a time, so that the caller can let contestants take turns; what takes
less than 0.2 s is done several times, and its median told.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

PHOTO = Path(__file__).parents[1] / "examples" / "photos" / "saratoga_broadway_1900s.jpg"


def peak_mb() -> float:
    """Return the peak of resident memory so far, in MiB."""
    # Linux counts into ru_maxrss what the parent had before this program was started in its place.
    status = Path("/proc/self/status")
    if status.exists():
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(peak.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def answer(**facts: Any) -> None:
    """Write one line for the caller."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Load the contestant, answer once, then take orders until there are no more."""
    begun = time.perf_counter()
    import cv2
    import numpy as np

    cv2_ready = time.perf_counter()
    cv2_peak = peak_mb()
    from benchmarks.baselines import CONTESTANTS, THREADS, Files

    name, files_json = sys.argv[1:]
    stored = json.loads(files_json)
    size = stored.pop("size")
    files = Files(**{key: Path(value) for key, value in stored.items()}, size=size)
    cv2.setNumThreads(THREADS)
    lightness = np.random.default_rng(0).random((16, 16), np.float32) * 100
    lightness = cv2.resize(lightness, (size, size), interpolation=cv2.INTER_LINEAR)
    contestant = CONTESTANTS[name](files)
    loaded = time.perf_counter()
    ab = contestant.network(lightness)
    first = time.perf_counter()
    answer(
        opencv=cv2.__version__,
        cv2_s=cv2_ready - begun,
        load_s=loaded - cv2_ready,
        first_s=first - loaded,
        cv2_mb=cv2_peak,
        peak_mb=peak_mb(),
        ab=np.asarray(ab, np.float64).round(4).reshape(-1).tolist(),
    )
    photos: dict[tuple[int, int], Any] = {}
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "photo":
            size_wh = (order["size"][0], order["size"][1])
            if size_wh not in photos:
                photos = {size_wh: cv2.resize(cv2.imread(str(PHOTO)), size_wh)}
            work = partial(contestant.photo, photos[size_wh])
        elif order["do"] == "files":
            folder = Path(order["folder"])
            work = partial(contestant.files, sorted(folder.glob("*.jpg")), Path(order["out"]))
        else:
            work = partial(contestant.network, lightness)
        if order.get("settle"):
            # The last contestant's threads may still spin, its data fills the caches, and while
            # this one waited the system may have taken its memory away: that is not measured.
            time.sleep(0.2)
            repeated(work)
            ms = median(repeated(work))
        else:
            ms = repeated(work, least_s=0)[0]
        answer(ms=ms, peak_mb=peak_mb())


def repeated(work: Callable[[], Any], *, least_s: float = 0.2) -> list[float]:
    """Do the work once, and on until the time has passed; milliseconds of each."""
    times: list[float] = []
    while not times or sum(times) < 1e3 * least_s:
        begun = time.perf_counter()
        work()
        times.append((time.perf_counter() - begun) * 1e3)
    return times


if __name__ == "__main__":
    main()
