"""Run one baseline in its own process: orders and results are lines of JSON.

    python -m benchmarks.worker NAME MODEL

The first line it writes has the times of loading and of the first prediction. Then it times
{"do": "network"}, {"do": "photo", "size": [width, height]} or {"do": "files", "folder": ...,
"out": ...}, one at a time, so that the caller can interleave workers. Orders of less than 0.2 s are
repeated, and the median is reported.
"""

from __future__ import annotations

import json
import sys
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.harness import PHOTO, THREADS, BenchmarkModel, peak_rss_mib, time_repeated


def write_line(**fields: Any) -> None:
    """Write one line of JSON for the caller."""
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Load the baseline, predict once, then run orders until there are no more."""
    start = time.perf_counter()
    import cv2
    import numpy as np

    cv2_ready = time.perf_counter()
    cv2_peak = peak_rss_mib()
    from benchmarks.baselines import BASELINES

    name, model_json = sys.argv[1:]
    model = BenchmarkModel.from_json(json.loads(model_json))
    cv2.setNumThreads(THREADS)
    lightness = np.random.default_rng(0).random((16, 16), np.float32) * 100
    lightness = cv2.resize(lightness, (model.size, model.size), interpolation=cv2.INTER_LINEAR)
    baseline = BASELINES[name](model)
    loaded = time.perf_counter()
    ab = baseline.network(lightness)
    first = time.perf_counter()
    write_line(
        opencv=cv2.__version__,
        cv2_s=cv2_ready - start,
        load_s=loaded - cv2_ready,
        first_s=first - loaded,
        cv2_mib=cv2_peak,
        peak_mib=peak_rss_mib(),
        ab=np.asarray(ab, np.float64).round(4).reshape(-1).tolist(),
    )
    photos: dict[tuple[int, int], Any] = {}
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "photo":
            size_wh = (order["size"][0], order["size"][1])
            if size_wh not in photos:
                photos = {size_wh: cv2.resize(cv2.imread(str(PHOTO)), size_wh)}
            function = partial(baseline.photo, photos[size_wh])
        elif order["do"] == "files":
            paths = sorted(Path(order["folder"]).glob("*.jpg"))
            function = partial(baseline.files, paths, Path(order["out"]))
        else:
            function = partial(baseline.network, lightness)
        if order.get("settle"):
            # The previous worker's threads may still spin, its data fill the caches, and the
            # system may have paged this process out while it waited, so these calls are not timed.
            time.sleep(0.2)
            time_repeated(function)
            ms = median(time_repeated(function))
        else:
            ms = time_repeated(function, min_s=0)[0]
        write_line(ms=ms, peak_mib=peak_rss_mib())


if __name__ == "__main__":
    main()
