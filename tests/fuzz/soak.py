"""Soak test of memory: `python -m tests.fuzz.soak KIND COUNT`.

small: images of all sizes up to 200 and all dtypes; large: 6 megapixels; frames: an endless video;
built: Colorizers created and deleted. The exit code is 1 if memory ends more than 20 MB higher.

With `--rounds N`, a round that ends higher is followed by another, at most N. Allocators keep freed
memory per thread and reach a plateau after a while; a leak grows in every round.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import colorcv

MAX_GROWTH_MB = 20
WARM_UP = {"small": 300, "large": 10, "frames": 500, "built": 5}


def resident_mb() -> float:
    """Return the resident memory of this process (Linux)."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def _small(colorizer: colorcv.Colorizer) -> Iterator[None]:
    rng = np.random.default_rng(0)
    dtypes = itertools.cycle((np.uint8, np.uint8, np.uint16, np.float32))
    for dtype in dtypes:
        shape = (*rng.integers(1, 200, 2), *((), (3,), (4,))[rng.integers(3)])
        image = rng.random(shape, np.float32)
        if dtype != np.float32:
            image *= np.iinfo(dtype).max
        colorizer.colorize(image.astype(dtype))
        yield


def _large(colorizer: colorcv.Colorizer) -> Iterator[None]:
    rng = np.random.default_rng(0)
    base = rng.integers(0, 256, (2100, 3100), np.uint8)
    for row in itertools.cycle(range(100)):
        image = base[row : row + 2000, row : row + 3000]
        colorizer.colorize(image if row % 3 else np.dstack([image] * 3))
        yield


def _frames(colorizer: colorcv.Colorizer) -> Iterator[None]:
    base = np.random.default_rng(0).integers(0, 256, (40, 60), np.uint8)
    scene = np.kron(base, np.ones((12, 12), np.uint8))

    def endless() -> Iterator[np.ndarray]:
        for index in itertools.count():
            y, x = index % 200, index % 300
            frame = scene[y : y + 240, x : x + 320]
            yield 255 - frame if index // 997 % 2 else frame  # a cut every 997 frames

    for _ in colorizer.frames(endless()):
        yield


def _built(colorizer: colorcv.Colorizer) -> Iterator[None]:
    grey = np.zeros((30, 40), np.uint8)
    while True:
        colorcv.Colorizer("lite", device="cpu").colorize(grey)
        yield


def soak(kind: str, count: int, *, warm_up: int | None = None) -> Iterator[dict[str, float]]:
    """Warm up, then yield the MB before, after and at the peak of each round of `count` steps."""
    steps_of = {"small": _small, "large": _large, "frames": _frames, "built": _built}[kind]
    steps = steps_of(colorcv.Colorizer("lite", device="cpu"))
    for _ in itertools.islice(steps, WARM_UP[kind] if warm_up is None else warm_up):
        pass
    while True:
        before = peak = resident_mb()
        start = time.monotonic()
        for done in range(1, count + 1):
            next(steps)
            if done % max(1, count // 20) == 0:
                peak = max(peak, resident_mb())
        after = resident_mb()
        seconds = time.monotonic() - start
        yield {"before": before, "after": after, "peak": max(peak, after), "seconds": seconds}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=list(WARM_UP))
    parser.add_argument("count", type=int)
    parser.add_argument("--warm-up", type=int)
    parser.add_argument("--rounds", type=int, default=1)
    args = parser.parse_args()
    rounds = soak(args.kind, args.count, warm_up=args.warm_up)
    for found in itertools.islice(rounds, args.rounds):
        sys.stdout.write(
            f"{args.kind} {args.count}: {found['before']:.0f} MB before, "
            f"{found['after']:.0f} MB after, {found['peak']:.0f} MB at the peak, "
            f"{found['seconds']:.0f} s\n"
        )
        if found["after"] <= found["before"] + MAX_GROWTH_MB:
            return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
