"""Time films end to end against the plain recipe, and write RESULTS-video.md.

    python -m benchmarks.video [--clip FILM] [--frames 160] [--rounds 2] [--output FILE]

Needs PyAV, and the `onnx` package to make a full-size network with seeded weights. The plain
recipe runs the network on every frame, converts in float32 Lab at full size and writes with
OpenCV's MPEG-4; on OpenCV 4 its network is readNetFromCaffe, on 5 the plain ONNX. Both colour the
same film, in turn, in this process, with two threads. Without --clip the film is a pan over a
photo of the examples.

    python -m benchmarks.video --memory

colours 10,000 frames of 640x360 with a network that costs nothing, and prints the memory.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import Any

import av
import cv2
import numpy as np

from benchmarks.baselines import THREADS, Caffe, Files, PlainOnnx
from colorcv.video.api import VideoResult, colorize_video

ROOT = Path(__file__).parents[1]
SIZES = ((640, 360), (1280, 720), (1920, 1080))
RECIPE_FRAMES = 16  # as many of the recipe's slow frames as its rate needs


def bgr_frames(clip: Path | None, size_wh: tuple[int, int], count: int) -> Iterator[Any]:
    """Frames of the clip, over and over, or of a pan over a photo."""
    if clip is None:
        photo = cv2.imread(str(next((ROOT / "examples" / "photos").iterdir())))
        photo = cv2.resize(photo, (size_wh[0] * 3 // 2, size_wh[1] * 3 // 2))
        for i in range(count):
            x, y = (i * (photo.shape[k] - size_wh[j]) // count for j, k in ((0, 1), (1, 0)))
            yield np.ascontiguousarray(photo[y : y + size_wh[1], x : x + size_wh[0]])
        return
    while count > 0:
        capture = cv2.VideoCapture(str(clip))
        while count > 0 and (answer := capture.read())[0]:
            count -= 1
            yield cv2.resize(answer[1], size_wh, interpolation=cv2.INTER_CUBIC)


def make_film(path: Path, frames: Iterator[Any]) -> None:
    """Write frames as a grey H.264 film."""
    with av.open(str(path), "w") as container:
        stream: Any = None
        for index, bgr in enumerate(frames):
            if stream is None:
                stream = container.add_stream("libx264", rate=24, options={"crf": "18"})
                stream.height, stream.width = bgr.shape[:2]
                stream.pix_fmt = "yuv420p"
            grey = cv2.cvtColor(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
            frame = av.VideoFrame.from_ndarray(grey, format="bgr24").reformat(format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 24)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def recipe_rate(recipe: Any, film: Path, output: Path) -> tuple[float, float]:
    """Frames per second of the plain recipe, and its processor time a frame in ms."""
    capture = cv2.VideoCapture(str(film))
    size_wh = tuple(int(capture.get(p)) for p in (3, 4))
    writer = cv2.VideoWriter(str(output), cv2.VideoWriter.fourcc(*"mp4v"), 24, size_wh)
    began, worked = time.perf_counter(), time.process_time()
    for _ in range(RECIPE_FRAMES):
        writer.write(recipe.photo(capture.read()[1]))
    rate = RECIPE_FRAMES / (time.perf_counter() - began)
    writer.release()
    return rate, 1000 * (time.process_time() - worked) / RECIPE_FRAMES


def compare(arguments: argparse.Namespace, folder: Path) -> list[str]:
    """Colour films of each size with each model, in turn with the recipe; return table rows."""
    import colorcv
    from benchmarks.run import make_models

    zhang, _ = make_models(folder)
    files = Files(**{key: Path(value) if key != "size" else value for key, value in zhang.items()})
    recipe = Caffe(files) if cv2.__version__.startswith("4") else PlainOnnx(files)
    own = colorcv.ModelFiles(
        prototxt=files.prototxt, caffemodel=files.caffemodel, centers=files.centers
    )
    models = {
        "zhang2016-sized": colorcv.Colorizer(own, device="cpu"),
        "lite": colorcv.Colorizer("lite", device="cpu"),
    }
    rows = []
    for size_wh in SIZES:
        film = folder / "film.mp4"
        make_film(film, bgr_frames(arguments.clip, size_wh, arguments.frames))
        plain: list[tuple[float, float]] = []
        ours: dict[str, list[tuple[VideoResult, float]]] = {name: [] for name in models}
        for _ in range(arguments.rounds):
            plain.append(recipe_rate(recipe, film, folder / "recipe.mp4"))
            for name, colorizer in models.items():
                worked = time.process_time()
                result = colorize_video(
                    film, folder / "ours.mp4", colorizer=colorizer, overwrite=True
                )
                worked = 1000 * (time.process_time() - worked) / result.frames
                ours[name].append((result, worked))
        for name, results in ours.items():
            pairs = list(zip(results, plain, strict=True))
            rate = median(result.frames_per_second for result, _ in results)
            faster = median(result.frames_per_second / p[0] for (result, _), p in pairs)
            lighter = median(p[1] / worked for (_, worked), p in pairs)
            last = results[-1][0]
            stages = ", ".join(
                f"{stage} {1000 * seconds / last.frames:.1f}"
                for stage, seconds in sorted(last.stage_seconds.items())
            )
            rows.append(
                f"| {size_wh[0]}x{size_wh[1]} | {name} | {median(p[0] for p in plain):.2f} "
                f"| {rate:.1f} | {faster:.1f} | {median(p[1] for p in plain):.0f} "
                f"| {median(worked for _, worked in results):.1f} | {lighter:.1f} "
                f"| {last.network_runs}/{last.frames} | {stages} |"
            )
            print(rows[-1], flush=True)
    return rows


class Free:
    """A network that costs nothing."""

    input_hw = (224, 224)

    def predict_ab(self, lightness: Any) -> Any:
        return np.zeros((56, 56, 2), np.float32)


def memory(folder: Path) -> None:
    """Print the memory at frame 500 and its highest afterwards, of 10,000 frames of 640x360."""
    import psutil

    film = folder / "long.mp4"
    make_film(film, bgr_frames(None, (640, 360), 10_000))
    process, seen = psutil.Process(), {}

    def look(done: int, total: int | None) -> None:
        if done == 500 or done % 1000 == 0:
            seen[done] = process.memory_info().rss / 2**20

    result = colorize_video(film, folder / "out.mp4", colorizer=Free(), progress=look)
    growth = max(seen.values()) - seen[500]
    print({done: round(size, 1) for done, size in seen.items()})
    print(f"{result.frames} frames, {growth:.1f} MB above frame 500, {result.seconds:.0f} s")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clip", type=Path)
    parser.add_argument("--frames", type=int, default=160)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--memory", action="store_true")
    arguments = parser.parse_args()
    cv2.setNumThreads(THREADS)
    with tempfile.TemporaryDirectory() as folder:
        if arguments.memory:
            memory(Path(folder))
            return 0
        rows = compare(arguments, Path(folder))
    if arguments.output:
        head = [
            f"## OpenCV {cv2.__version__}, PyAV {av.__version__}, {THREADS} threads, "
            f"{platform.machine()}",
            "",
            "| film | model | recipe fps | colorcv fps | times as fast | recipe CPU ms a frame"
            " | colorcv | times as little | network runs | ms a frame in each stage (they"
            " overlap) |",
            "|" + "---|" * 10,
        ]
        with arguments.output.open("a") as file:
            file.write("\n".join([*head, *rows, "", ""]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
