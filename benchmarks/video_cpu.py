"""Processor time of a frame: the stages of `colorize_video`, and against the ffmpeg program.

    python -m benchmarks.video_cpu [--clip VIDEO] [--frames 120] [--rounds 5]

Needs PyAV and `ffmpeg`. Times are those of the processor, user and system, in the median of turns,
so that they hold on a machine with other work; the rates beside them need an idle one. ffmpeg
decodes the same grey video and encodes it with ``-c:v libx264 -preset veryfast``, at its own
quality (CRF 23), and at colorcv's (CRF 17).
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import av
import cv2

from benchmarks.harness import THREADS, markdown_table
from benchmarks.video import bgr_frames, write_video
from colorcv import Colorizer
from colorcv.color import lab
from colorcv.frames import predict_chroma
from colorcv.temporal import ChromaPropagator
from colorcv.video.api import colorize_video
from colorcv.video.options import VideoOptions
from colorcv.video.pyav.backend import YUVRenderer
from colorcv.video.pyav.reader import PyAVFrame, PyAVReader

SIZES = ((1280, 720), (1920, 1080))


def cpu_ms(work: Callable[[], Any]) -> float:
    """Return the processor time of this process for some work, in ms."""
    start = time.process_time()
    work()
    return 1000 * (time.process_time() - start)


def ffmpeg_ms(video: Path, output: Path, *options: str) -> float:
    """Return the processor time of ffmpeg, decoding and encoding, in ms."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        ["ffmpeg", "-loglevel", "error", "-y", "-i", video, "-c:v", "libx264",
         "-preset", "veryfast", *options, output],
        check=True,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def stages(video: Path, colorizer: Colorizer, rounds: int) -> dict[str, float]:
    """Return the processor time of each stage in ms a frame, in the median of turns."""
    turns = [stage_times(video, colorizer) for _ in range(rounds)]
    return {name: median(turn[name] for turn in turns) for name in turns[0]}


def stage_times(video: Path, colorizer: Colorizer) -> dict[str, float]:
    """Run one stage after the other; return the processor time of each in ms a frame."""
    options = VideoOptions(audio="none")
    with av.open(str(video)) as container:
        container.streams.video[0].thread_type = "AUTO"
        decoding = cpu_ms(lambda: list(container.decode(video=0)) and None)
    reader = PyAVReader(video, colorizer.input_hw, options)
    reader.set_output_format("yuv420p")
    frames: list[PyAVFrame] = []
    reader.read(frames.append, lambda packet: None)
    lightness = cpu_ms(lambda: [reader._with_lightness(f.frame) for f in frames])
    network = 0.0

    def predict(plane: Any) -> Any:
        nonlocal network
        start = time.process_time()
        answer = predict_chroma(colorizer, plane)
        network += 1000 * (time.process_time() - start)
        return answer

    propagator = ChromaPropagator(predict)
    propagated: list[Any] = []
    planes = ((frame, frame.lightness) for frame in frames)
    flow = cpu_ms(lambda: propagated.extend(propagator.propagate(planes)))
    chroma: list[Any] = []
    upsampling = cpu_ms(
        lambda: chroma.extend(lab.upsample_chroma(ab, plane) for _, plane, ab in propagated)
    )
    renderer = YUVRenderer(reader, options)
    rendering = cpu_ms(lambda: render_all(renderer, frames, chroma))
    reader.close()
    totals = {
        "decode": decoding,
        "lightness": lightness,
        "network": network,
        "flow and blending": flow - network,
        "chroma to 192x192": upsampling,
        "U and V": rendering,
    }
    return {name: total / len(frames) for name, total in totals.items()}


def render_all(renderer: YUVRenderer, frames: list[PyAVFrame], chroma: list[Any]) -> None:
    """Render every frame and drop it."""
    for frame, ab in zip(frames, chroma, strict=True):
        renderer.render(frame, ab)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clip", type=Path)
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    cv2.setNumThreads(THREADS)
    colorizer = Colorizer("lite", device="cpu")
    rows, stage_rows = [], []
    with tempfile.TemporaryDirectory() as folder:
        video, output = Path(folder, "video.mp4"), Path(folder, "out.mp4")
        for size_wh in SIZES:
            write_video(video, bgr_frames(arguments.clip, size_wh, arguments.frames))
            turns, elapsed = [], []
            for _ in range(arguments.rounds + 1):
                start = time.perf_counter()
                own = cpu_ms(
                    lambda: colorize_video(video, output, colorizer=colorizer, overwrite=True)
                )
                middle = time.perf_counter()
                theirs = ffmpeg_ms(video, output)
                elapsed.append((middle - start, time.perf_counter() - middle))
                turns.append((own, theirs, ffmpeg_ms(video, output, "-crf", "17")))
            turns, elapsed = turns[1:], elapsed[1:]  # the first one warms up
            rows.append(
                [
                    f"{size_wh[0]}x{size_wh[1]}",
                    *(f"{median(t[i] for t in turns) / arguments.frames:.1f}" for i in range(3)),
                    *(f"{median(t[i] / t[0] for t in turns):.2f}" for i in (1, 2)),
                    *(f"{arguments.frames / median(e[i] for e in elapsed):.0f}" for i in (0, 1)),
                    f"{median(b / a for a, b in elapsed):.2f}",
                ]
            )
            measured = stages(video, colorizer, arguments.rounds)
            stage_rows.append([rows[-1][0], *(f"{ms:.2f}" for ms in measured.values())])
    print(f"## OpenCV {cv2.__version__}, PyAV {av.__version__}, {THREADS} threads\n")
    header = ["video", "colorcv", "ffmpeg, CRF 23", "ffmpeg, CRF 17", "ratio", "ratio at CRF 17",
              "frames a second", "of ffmpeg", "ratio of rates"]  # fmt: skip
    print(markdown_table(header, rows))
    print(markdown_table(["video", *measured], stage_rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
