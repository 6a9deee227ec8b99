"""Measure how far the colours of a scene's places wander, and how far they are from the truth.

    python -m benchmarks.wander [FOLDER] [--model lite] [--keyframe-interval 8] [--max-frames 250]
    python -m benchmarks.wander --time [--rounds 8]

The clips are the videos of FOLDER, if given, and three made of scikit-image's photos
(`benchmarks.made_clips`). Their lightness is coloured. For each clip and method:

    wander    the standard deviation in time of a place's chroma, sqrt(var a + var b), mean over
              places. The places of videos are followed by Farneback's dense flow (colorcv uses
              another one), checked forwards and backwards, from a grid that is filled up every 12
              frames, and count from 24 frames on; those of made clips are known, also where they
              come back.
    error     mean distance to the true ab, over that of the clip left grey
    colour    mean chroma over that of the network

The methods are the network on every frame; smoothed key frames alone (``hold_colors=False``); and
held colours (the default). --time colours videos with and without ``hold_colors`` in turn, and
prints the CPU time of the whole process. Prints Markdown. Needs scikit-image; --time needs PyAV.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

import colorcv
from benchmarks.harness import THREADS, markdown_table
from benchmarks.made_clips import MADE_CLIPS
from colorcv.frames import predict_chroma, predict_held
from colorcv.temporal import ChromaPropagator, is_cut

Array = npt.NDArray[Any]
SUFFIXES = {".mp4", ".mkv", ".avi", ".mov", ".webm"}
SEED_INTERVAL, SEEDS, MIN_FRAMES = 12, 20, 24
MAX_RETURN_ERROR = 1.0  # pixels at the network's input size, forwards and backwards
GREY = 1.0  # mean chroma below which a clip has no true colours
BAR = 4.0  # mean L* of a column or row of a bar


class Clip(NamedTuple):
    """Lightness and true ab of a clip, and the places that are followed."""

    name: str
    lightness: list[Array]  # (H, W) float32
    true_ab: Array | None  # (frames, h, w, 2)
    points: Array  # (frames, N, 2): column and row as fractions; nan where not visible


def read_video(path: Path, max_frames: int) -> Iterator[Array]:
    """Yield the frames of a video, without black bars at their sides."""
    capture = cv2.VideoCapture(str(path))
    inside: Any = None
    for _ in range(max_frames):
        ok, frame = capture.read()
        if not ok:
            return
        if inside is None:
            grey = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY).astype(np.float32)
            rows, columns = (np.flatnonzero(grey.mean(axis=axis) > 2.55 * BAR) for axis in (1, 0))
            inside = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        yield np.ascontiguousarray(frame[inside])


def make_clip(
    colorizer: colorcv.Colorizer, name: str, frames: Iterator[Array], points: Array | None
) -> Clip:
    """Reduce a clip to the network's sizes, and follow its places if they are not known."""
    size_wh = colorizer.input_hw[::-1]
    lightness, true = [], []
    output_wh = None
    for frame in frames:
        lab = cv2.cvtColor(frame.astype(np.float32) / 255, cv2.COLOR_BGR2LAB)
        light = cv2.resize(np.ascontiguousarray(lab[..., 0]), size_wh, interpolation=cv2.INTER_AREA)
        lightness.append(np.clip(light, 0, 100))
        if output_wh is None:
            output_wh = colorizer.predict_ab(lightness[0]).shape[1::-1]
        ab = np.ascontiguousarray(lab[..., 1:])
        true.append(cv2.resize(ab, output_wh, interpolation=cv2.INTER_AREA))
    true_ab = np.array(true)
    has_color = float(np.linalg.norm(true_ab, axis=3).mean()) > GREY
    points = follow(lightness) if points is None else points
    return Clip(name, lightness, true_ab if has_color else None, points)


def follow(lightness: list[Array]) -> Array:
    """Return the places of a grid, followed by optical flow as far as it goes back where it came.

    Not across cuts.
    """
    grey = [np.clip(plane * 2.55, 0, 255).astype(np.uint8) for plane in lightness]
    height, width = grey[0].shape
    steps = (np.arange(SEEDS) + 0.5) / SEEDS
    grid = np.stack(np.meshgrid(steps * width, steps * height), axis=2).reshape(-1, 2)
    finished: list[tuple[int, list[Array]]] = []
    live: list[tuple[int, list[Array]]] = []
    since_cut = 0
    for index in range(len(grey)):
        if index and is_cut(lightness[index - 1], lightness[index]):
            finished += live
            live, since_cut = [], 0
        elif live:
            forth, back = (farneback(grey[index - 1], grey[index]),
                           farneback(grey[index], grey[index - 1]))  # fmt: skip
            before = np.array([track[1][-1] for track in live])
            after = before + sample(forth, before)
            returned = after + sample(back, after)
            good = np.linalg.norm(returned - before, axis=1) < MAX_RETURN_ERROR
            good &= ((after > 2) & (after < (width - 3, height - 3))).all(axis=1)
            for track, place in zip(live, after, strict=True):
                track[1].append(place)
            for track in (t for t, is_good in zip(live, good, strict=True) if not is_good):
                track[1].pop()
                finished.append(track)
            live = [t for t, is_good in zip(live, good, strict=True) if is_good]
        if since_cut % SEED_INTERVAL == 0:
            taken = {cell_of(track[1][-1], width, height) for track in live}
            live += [(index, [p]) for p in grid if cell_of(p, width, height) not in taken]
        since_cut += 1
    kept = [track for track in [*finished, *live] if len(track[1]) >= MIN_FRAMES]
    points = np.full((len(grey), len(kept), 2), np.nan, np.float32)
    for number, (first, places) in enumerate(kept):
        points[first : first + len(places), number] = np.array(places) / (width, height)
    return points


def farneback(before: Array, after: Array) -> Array:
    """Return the dense flow from one frame to another."""
    flow: Any = None
    return np.asarray(
        cv2.calcOpticalFlowFarneback(before, after, flow, 0.5, 4, 13, 4, 7, 1.5, 0), np.float32
    )


def cell_of(place: Array, width: int, height: int) -> tuple[int, int]:
    """Return the cell of the grid that a place lies in."""
    return int(place[0] / width * SEEDS), int(place[1] / height * SEEDS)


def sample(plane: Array, places: Array) -> Array:
    """Return the values of a plane, (H, W, 2), at N places (x, y), linearly."""
    at = np.asarray(places, np.float32).reshape(-1, 1, 2)
    found = cv2.remap(plane, at[..., 0], at[..., 1], cv2.INTER_LINEAR,
                      borderMode=cv2.BORDER_REPLICATE)  # fmt: skip
    return np.asarray(found).reshape(len(places), -1)


def wander(chroma: list[Array], points: Array) -> float:
    """Return the mean over places of the standard deviation in time of their chroma."""
    values = np.full((len(chroma), points.shape[1], 2), np.nan)
    for index, ab in enumerate(chroma):
        visible = ~np.isnan(points[index, :, 0])
        if visible.any():
            places = points[index, visible] * ab.shape[1::-1] - 0.5
            values[index, visible] = sample(np.asarray(ab, np.float32), places)
    count = (~np.isnan(values[..., 0])).sum(axis=0)
    variance = np.nanvar(values[:, count >= MIN_FRAMES], axis=0)
    return float(np.sqrt(variance.sum(axis=1)).mean())


def propagate(
    colorizer: colorcv.Colorizer, clip: Clip, interval: int, *, hold: bool
) -> list[Array]:
    """Return the chroma of all frames, from smoothed or from held key frames."""
    propagator = ChromaPropagator(
        partial(predict_chroma, colorizer),
        keyframe_interval=interval,
        predict_features=partial(predict_held, colorizer) if hold else None,
    )
    return [ab for _, _, ab in propagator.propagate(enumerate(clip.lightness))]


def compare(arguments: argparse.Namespace) -> str:
    """Return the table of all clips and methods."""
    colorizer = colorcv.Colorizer(arguments.model, device="cpu")
    interval = arguments.keyframe_interval
    methods: list[Callable[[Clip], list[Array]]] = [
        lambda clip: [predict_chroma(colorizer, plane) for plane in clip.lightness],
        lambda clip: propagate(colorizer, clip, interval, hold=False),
        lambda clip: propagate(colorizer, clip, interval, hold=True),
    ]
    paths = sorted(arguments.folder.iterdir()) if arguments.folder else []
    sources: list[tuple[str, Callable[[], tuple[Iterator[Array], Array | None]]]] = [
        (path.stem, lambda path=path: (read_video(path, arguments.max_frames), None))
        for path in paths
        if path.suffix.lower() in SUFFIXES
    ]
    for name, make in MADE_CLIPS.items():
        sources.append((name, lambda make=make: ((c := make()) and iter(c.frames), c.points)))
    rows, figures = [], []
    for name, open_source in sources:
        clip = make_clip(colorizer, name, *open_source())
        results = [method(clip) for method in methods]
        own = float(np.linalg.norm(np.array(results[0]), axis=3).mean())
        line = []
        for chroma in results:
            all_ab = np.array(chroma)
            error = np.nan
            if clip.true_ab is not None:
                error = float(np.linalg.norm(all_ab - clip.true_ab, axis=3).mean())
                error /= float(np.linalg.norm(clip.true_ab, axis=3).mean())
            vivid = float(np.linalg.norm(all_ab, axis=3).mean()) / own
            line.append((wander(chroma, clip.points), error, vivid))
        figures.append(line)
        rows.append([clip.name, *_texts(np.array(line))])
        print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
    means = np.exp(np.nanmean(np.log(np.array(figures)), axis=0))  # geometric, over the clips
    rows.append(["geometric mean", *_texts(means)])
    header = ["clip"]
    for measure in ("wander", "error", "colour"):
        header += [f"{measure}: network", "smoothed", "held"]
    return markdown_table(header, rows)


def _texts(line: Array) -> list[str]:
    return [
        "-" if np.isnan(value) else f"{value:.3f}" if measure == 1 else f"{value:.2f}"
        for measure in range(3)
        for value in line[:, measure]
    ]


def cpu_time(arguments: argparse.Namespace) -> str:
    """Return the table of CPU time per frame of whole videos, without and with held colours."""
    from benchmarks.video import write_video

    colorizer = colorcv.Colorizer(arguments.model, device="cpu")
    clip = MADE_CLIPS["made: pan and back"]()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for size_wh in ((640, 360), (1280, 720)):
            video = Path(folder) / "video.mp4"
            write_video(video, (cv2.resize(frame, size_wh) for frame in clip.frames))
            times: dict[bool, list[float]] = {False: [], True: []}
            for turn in range(arguments.rounds + 1):
                for hold in (False, True):
                    start = time.process_time()
                    result = colorcv.colorize_video(
                        video, Path(folder) / "out.mp4", colorizer=colorizer, overwrite=True,
                        keyframe_interval=arguments.keyframe_interval, hold_colors=hold,
                    )  # fmt: skip
                    if turn:  # the first one of each loads the network
                        elapsed = time.process_time() - start
                        times[hold].append(1000 * elapsed / result.frames)
            ratios = [b / a for a, b in zip(times[False], times[True], strict=True)]
            rows.append([
                f"{size_wh[0]}x{size_wh[1]}", f"{median(times[False]):.2f}",
                f"{median(times[True]):.2f}", f"{100 * (median(ratios) - 1):+.1f} %",
            ])  # fmt: skip
    header = ["video", "CPU ms a frame, smoothed", "held", "median of the ratios"]
    return markdown_table(header, rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--model", default="lite")
    parser.add_argument("--keyframe-interval", type=int, default=8)
    parser.add_argument("--max-frames", type=int, default=250)
    parser.add_argument("--time", action="store_true")
    parser.add_argument("--rounds", type=int, default=8)
    arguments = parser.parse_args()
    cv2.setNumThreads(THREADS)
    print(cpu_time(arguments) if arguments.time else compare(arguments))
    return 0


if __name__ == "__main__":
    sys.exit(main())
