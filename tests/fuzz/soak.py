"""Does memory stay where it was? `python -m tests.fuzz.soak KIND COUNT`.

small: pictures of all sizes up to 200 and all dtypes; large: 6 megapixels; frames: a film that
has no end; built: Colorizers made and dropped. Exit code 1: more than 20 MB above the warm-up.

With `--rounds N`, a round that ends higher is followed by another, N at most: allocators keep what
was freed, for each thread, and reach their height after a while; a leak grows in every round.
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

MOST_MB = 20
WARM_UP = {"small": 300, "large": 10, "frames": 500, "built": 5}


def resident_mb() -> float:
    """What this process has in memory now (Linux)."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def _small(colorizer: colorcv.Colorizer) -> Iterator[None]:
    rng = np.random.default_rng(0)
    dtypes = itertools.cycle((np.uint8, np.uint8, np.uint16, np.float32))
    for dtype in dtypes:
        shape = (*rng.integers(1, 200, 2), *((), (3,), (4,))[rng.integers(3)])
        picture = rng.random(shape, np.float32)
        if dtype != np.float32:
            picture *= np.iinfo(dtype).max
        colorizer.colorize(picture.astype(dtype))
        yield


def _large(colorizer: colorcv.Colorizer) -> Iterator[None]:
    rng = np.random.default_rng(0)
    base = rng.integers(0, 256, (2100, 3100), np.uint8)
    for row in itertools.cycle(range(100)):
        picture = base[row : row + 2000, row : row + 3000]
        colorizer.colorize(picture if row % 3 else np.dstack([picture] * 3))
        yield


def _frames(colorizer: colorcv.Colorizer) -> Iterator[None]:
    base = np.random.default_rng(0).integers(0, 256, (40, 60), np.uint8)
    scene = np.kron(base, np.ones((12, 12), np.uint8))

    def film() -> Iterator[np.ndarray]:
        for at in itertools.count():
            frame = scene[at % 200 : at % 200 + 240, at % 300 : at % 300 + 320]
            yield 255 - frame if at // 997 % 2 else frame  # a cut at times

    for _ in colorizer.frames(film()):
        yield


def _built(colorizer: colorcv.Colorizer) -> Iterator[None]:
    grey = np.zeros((30, 40), np.uint8)
    while True:
        colorcv.Colorizer("lite", device="cpu").colorize(grey)
        yield


def soak(kind: str, count: int, *, warm_up: int | None = None) -> Iterator[dict[str, float]]:
    """Do the work `count` times after the warm-up, and again; megabytes before, after, at most."""
    work = {"small": _small, "large": _large, "frames": _frames, "built": _built}[kind]
    steps = work(colorcv.Colorizer("lite", device="cpu"))
    for _ in itertools.islice(steps, WARM_UP[kind] if warm_up is None else warm_up):
        pass
    while True:
        before = most = resident_mb()
        start = time.monotonic()
        for done in range(1, count + 1):
            next(steps)
            if done % max(1, count // 20) == 0:
                most = max(most, resident_mb())
        after = resident_mb()
        seconds = time.monotonic() - start
        yield {"before": before, "after": after, "most": max(most, after), "seconds": seconds}


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
            f"{found['after']:.0f} MB after all, {found['most']:.0f} MB at most, "
            f"{found['seconds']:.0f} s\n"
        )
        if found["after"] <= found["before"] + MOST_MB:
            return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
