"""Time videos end to end against the tutorials' code, and write RESULTS-video.md.

    python -m benchmarks.video [--clip VIDEO] [--frames 160] [--rounds 2] [--output FILE]

Needs PyAV, and the `onnx` package to make a full-size network with seeded weights. The tutorials'
code runs the network on every frame, converts in float32 Lab at full size and writes with OpenCV's
MPEG-4; on OpenCV 4 its network is readNetFromCaffe, on 5 the plain ONNX. Both colour the same
video, in turn, in this process, with two threads. Without --clip the video is a pan over a photo of
the examples.

    python -m benchmarks.video --memory

colours 10,000 frames of 640x360 with a network that takes no time, and prints the memory.
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

from benchmarks.baselines import Caffe, PlainOnnx
from benchmarks.harness import PHOTO, THREADS, markdown_table, write_seeded_model
from colorcv.video.api import VideoResult, colorize_video

SIZES = ((640, 360), (1280, 720), (1920, 1080))
TUTORIAL_FRAMES = 16  # enough of its slow frames to measure their rate


def bgr_frames(clip: Path | None, size_wh: tuple[int, int], count: int) -> Iterator[Any]:
    """Yield frames of the clip, repeated, or of a pan over a photo."""
    if clip is None:
        photo = cv2.imread(str(PHOTO))
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


def write_video(path: Path, frames: Iterator[Any]) -> None:
    """Write frames as a grey H.264 video."""
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


def tutorial_rate(tutorial: Any, video: Path, output: Path) -> tuple[float, float]:
    """Return the tutorial code's frames per second, and its CPU time per frame in ms."""
    capture = cv2.VideoCapture(str(video))
    size_wh = tuple(int(capture.get(p)) for p in (3, 4))
    writer = cv2.VideoWriter(str(output), cv2.VideoWriter.fourcc(*"mp4v"), 24, size_wh)
    start, cpu_start = time.perf_counter(), time.process_time()
    for _ in range(TUTORIAL_FRAMES):
        writer.write(tutorial.photo(capture.read()[1]))
    rate = TUTORIAL_FRAMES / (time.perf_counter() - start)
    writer.release()
    return rate, 1000 * (time.process_time() - cpu_start) / TUTORIAL_FRAMES


def compare(arguments: argparse.Namespace, folder: Path) -> list[list[str]]:
    """Colour videos of each size with each model, in turn with the tutorial; return table rows."""
    import colorcv

    files = write_seeded_model(folder)
    tutorial = Caffe(files) if cv2.__version__.startswith("4") else PlainOnnx(files)
    seeded = colorcv.ModelFiles(
        prototxt=files.prototxt, caffemodel=files.caffemodel, centers=files.centers
    )
    models = {
        "zhang2016-sized": colorcv.Colorizer(seeded, device="cpu"),
        "lite": colorcv.Colorizer("lite", device="cpu"),
    }
    rows = []
    for size_wh in SIZES:
        video = folder / "video.mp4"
        write_video(video, bgr_frames(arguments.clip, size_wh, arguments.frames))
        tutorial_rates: list[tuple[float, float]] = []
        own: dict[str, list[tuple[VideoResult, float]]] = {name: [] for name in models}
        for _ in range(arguments.rounds):
            tutorial_rates.append(tutorial_rate(tutorial, video, folder / "tutorial.mp4"))
            for name, colorizer in models.items():
                cpu_start = time.process_time()
                result = colorize_video(
                    video, folder / "colored.mp4", colorizer=colorizer, overwrite=True
                )
                cpu_ms = 1000 * (time.process_time() - cpu_start) / result.frames
                own[name].append((result, cpu_ms))
        for name, results in own.items():
            pairs = list(zip(results, tutorial_rates, strict=True))
            rate = median(result.frames_per_second for result, _ in results)
            faster = median(result.frames_per_second / p[0] for (result, _), p in pairs)
            lighter = median(p[1] / cpu for (_, cpu), p in pairs)
            last = results[-1][0]
            stages = ", ".join(
                f"{stage} {1000 * seconds / last.frames:.1f}"
                for stage, seconds in sorted(last.stage_seconds.items())
            )
            rows.append(
                [
                    f"{size_wh[0]}x{size_wh[1]}",
                    name,
                    f"{median(p[0] for p in tutorial_rates):.2f}",
                    f"{rate:.1f}",
                    f"{faster:.1f}",
                    f"{median(p[1] for p in tutorial_rates):.0f}",
                    f"{median(cpu for _, cpu in results):.1f}",
                    f"{lighter:.1f}",
                    f"{last.network_runs}/{last.frames}",
                    stages,
                ]
            )
            print(" | ".join(rows[-1]), flush=True)
    return rows


class FakeColorizer:
    """A colorizer whose network takes no time."""

    input_hw = (224, 224)

    def predict_ab(self, lightness: Any) -> Any:
        return np.zeros((56, 56, 2), np.float32)


def memory(folder: Path) -> None:
    """Print the memory at frame 500 of 10,000 (640x360) and its peak afterwards."""
    import psutil

    video = folder / "long.mp4"
    write_video(video, bgr_frames(None, (640, 360), 10_000))
    process, rss = psutil.Process(), {}

    def record_memory(done: int, total: int | None) -> None:
        if done == 500 or done % 1000 == 0:
            rss[done] = process.memory_info().rss / 2**20

    result = colorize_video(
        video, folder / "out.mp4", colorizer=FakeColorizer(), progress=record_memory
    )
    growth = max(rss.values()) - rss[500]
    print({done: round(size, 1) for done, size in rss.items()})
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
        head = f"## OpenCV {cv2.__version__}, PyAV {av.__version__}, {THREADS} threads, "
        header = [
            *("video", "model", "tutorial fps", "colorcv fps", "times as fast"),
            *("tutorial CPU ms a frame", "colorcv", "times as little", "network runs"),
            "ms a frame in each stage (they overlap)",
        ]
        with arguments.output.open("a") as file:
            file.write(f"{head}{platform.machine()}\n\n{markdown_table(header, rows)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
