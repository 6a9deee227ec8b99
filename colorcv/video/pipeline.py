"""Video pipeline: decode, predict and encode on three threads."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from .._typing import Float32Array
from ..color import lab
from ..temporal import ChromaPropagator
from .border import SceneBorder
from .transcode import Frame, Transcode, VideoReader
from .workers import BoundedQueue, WorkerGroup

__all__ = ["StageTimer", "run_pipeline"]

T = TypeVar("T")

# Frames queued between two threads: enough to bridge the prediction of a key frame (about 150 ms).
DECODE_QUEUE = ENCODE_QUEUE = 8


class StageTimer:
    """Working time of each stage in seconds, without the time it waited for others.

    Attributes
    ----------
    seconds : dict of str to float
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def add(self, stage: str, seconds: float) -> None:
        """Add time to a stage; only one thread may add to each stage."""
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    def timed(self, stage: str, func: Callable[[Float32Array], T]) -> Callable[[Float32Array], T]:
        """Return `func`, wrapped to add its time to a stage."""

        def timed_func(argument: Float32Array) -> T:
            start = time.perf_counter()
            try:
                return func(argument)
            finally:
                self.add(stage, time.perf_counter() - start)

        return timed_func


def run_pipeline(
    transcode: Transcode[Frame],
    propagator: ChromaPropagator,
    border: SceneBorder,
    timer: StageTimer,
    progress: Callable[[int, int | None], None] | None,
) -> None:
    """Colour every frame and complete the output file.

    Parameters
    ----------
    transcode : Transcode
        Its reader is closed at the end, and its writer closed or aborted.
    propagator : ChromaPropagator
    border : SceneBorder
        Whose `predict_ab` the propagator calls.
    timer : StageTimer
        Gets the stages "decode", "network", "chroma" and "encode".
    progress : callable, optional
        Called as ``progress(done, total)`` after every frame.
    """
    reader, writer = transcode.reader, transcode.writer
    finished = False
    try:
        with WorkerGroup() as group:
            decoded: BoundedQueue[Frame] = group.queue(DECODE_QUEUE)
            predicted: BoundedQueue[tuple[Frame | None, Any]] = group.queue(ENCODE_QUEUE)
            group.start(lambda: _decode(reader, decoded, predicted, timer), "read")
            group.start(lambda: _encode(transcode, predicted, timer), "write")
            total = reader.total
            frames = propagator.propagate(_with_lightness(decoded, timer))
            start = time.perf_counter()
            for done, (frame, lightness, ab) in enumerate(frames, 1):
                chroma = lab.upsample_chroma(ab, lightness)
                border.blank(chroma)
                put_at = time.perf_counter()
                predicted.put((frame, chroma))
                timer.add("waiting", time.perf_counter() - put_at)
                if progress is not None:
                    progress(done, total)
            predicted.close()
            elapsed = time.perf_counter() - start
        seconds = timer.seconds
        waiting = seconds.pop("waiting", 0.0)
        seconds["chroma"] = seconds.pop("rendering", 0.0) + max(
            0.0, elapsed - waiting - seconds.get("network", 0.0)
        )
        if reader.is_vfr and transcode.needs_cfr:
            writer.notes.append(
                "the frame rate varies and was made constant, so audio may drift; PyAV keeps it "
                "(pip install av)"
            )
        if transcode.mux_audio is not None:
            transcode.audio = transcode.mux_audio()
        finished = True
    finally:
        reader.close()
        if not finished:
            writer.abort()


def _decode(
    reader: VideoReader[Frame],
    decoded: BoundedQueue[Frame],
    predicted: BoundedQueue[tuple[Frame | None, Any]],
    timer: StageTimer,
) -> None:
    waited = 0.0

    def enqueue(frame: Frame) -> None:
        nonlocal waited
        start = time.perf_counter()
        decoded.put(frame)
        waited += time.perf_counter() - start

    start = time.perf_counter()
    reader.read(enqueue, lambda packet: predicted.put((None, packet)))
    timer.add("decode", time.perf_counter() - start - waited)
    decoded.close()


def _with_lightness(
    decoded: BoundedQueue[Frame], timer: StageTimer
) -> Iterator[tuple[Frame, Float32Array]]:
    start = time.perf_counter()
    for frame in decoded:
        timer.add("waiting", time.perf_counter() - start)
        yield frame, frame.lightness
        start = time.perf_counter()


def _encode(
    transcode: Transcode[Frame],
    predicted: BoundedQueue[tuple[Frame | None, Any]],
    timer: StageTimer,
) -> None:
    writer = transcode.writer
    for frame, chroma_or_packet in predicted:
        if frame is None:
            writer.write_packet(chroma_or_packet)
            continue
        start = time.perf_counter()
        rendered = transcode.render(frame, chroma_or_packet)
        rendered_at = time.perf_counter()
        writer.write_frame(rendered)
        timer.add("rendering", rendered_at - start)
        timer.add("encode", time.perf_counter() - rendered_at)
    start = time.perf_counter()
    writer.close()
    timer.add("encode", time.perf_counter() - start)
