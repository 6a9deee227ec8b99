"""The road of a film: one thread reads, one asks the network, one paints and writes."""

from __future__ import annotations

import importlib.util
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ..color import lab
from ..errors import VideoError
from ..temporal import ChromaPropagator
from . import opencv
from .output import Unfinished
from .workers import Crew, Lane

__all__ = ["Clock", "Transcode", "has_pyav", "open_transcode", "travel"]

Float32 = npt.NDArray[np.float32]
T = TypeVar("T")
log = logging.getLogger("colorcv")

# Frames that wait between two threads: enough that a key frame (some 150 ms) stalls nobody.
READ_AHEAD = WRITE_BEHIND = 8
OLDEST_PYAV = (17, 1)  # the first that keeps rotation


def has_pyav() -> bool:
    """Say whether PyAV is installed (``pip install 'colorcv[video]'``).

    Raises
    ------
    VideoError
        It is, but older than what keeps rotation and chapters.
    """
    if importlib.util.find_spec("av") is None:
        return False
    version = metadata.version("av")
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_PYAV:
        raise VideoError(
            f"PyAV {version} is too old: pip install --upgrade 'colorcv[video]' (17.1 or newer)"
        )
    return True


class Clock:
    """How long each stage worked, waiting left out."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def add(self, stage: str, seconds: float) -> None:
        """Count time to a stage; each stage is counted by one thread only."""
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    def timed(self, stage: str, work: Callable[[Float32], T]) -> Callable[[Float32], T]:
        """Return `work` with its time counted."""

        def timed_work(argument: Float32) -> T:
            began = time.perf_counter()
            try:
                return work(argument)
            finally:
                self.add(stage, time.perf_counter() - began)

        return timed_work


@dataclass
class Transcode:
    """A reader, a writer that fits it, and what lies between."""

    reader: Any  # AvReader or CvReader
    writer: Any  # AvWriter or CvWriter
    size_wh: tuple[int, int]
    paint: Callable[[Any, Float32], Any]  # a shot and its chroma to what the writer takes
    audio: tuple[str, str]
    add_sound: Callable[[], tuple[str, str]] | None = None
    constant_rate: bool = False  # the writer knows no other


def open_transcode(
    source: Any,
    unfinished: Unfinished,
    input_hw: tuple[int, int],
    *,
    with_pyav: bool,
    saturation: float,
    codec: str,
    quality: int | None,
    audio: str,
    start: float | None,
    end: float | None,
    compare: bool,
) -> Transcode:
    """Open the film and its output, with PyAV where it is, else with OpenCV alone.

    Raises
    ------
    VideoError, OptionError
        Before any frame is coloured: whatever can be known to fail.
    """
    is_film = isinstance(source, Path)
    if with_pyav and is_film:
        from .pyav import backend
        from .pyav.reader import PyAVReader

        reader = PyAVReader(source, input_hw, start=start, end=end, with_sound=audio != "none")
        try:
            return backend.road(reader, unfinished.path, saturation, codec, quality, audio, compare)
        except BaseException:
            reader.close()
            raise
    capture = opencv.OpenCVReader(source, input_hw, start=start, end=end)
    try:
        if with_pyav:
            from .pyav import backend

            return backend.road_from_bgr(
                capture, unfinished.path, saturation, codec, quality, compare
            )
        return _road_of_opencv(
            capture, source, unfinished, saturation, codec, quality, audio, start, end, compare
        )
    except BaseException:
        capture.close()
        raise


def _road_of_opencv(
    reader: opencv.OpenCVReader,
    source: Any,
    unfinished: Unfinished,
    saturation: float,
    codec: str,
    quality: int | None,
    audio: str,
    start: float | None,
    end: float | None,
    compare: bool,
) -> Transcode:
    add_sound = None
    state = "none", "a camera's sound is not recorded"
    if audio == "none":
        state = "none", "left out as asked"
    elif isinstance(source, Path):
        state = "dropped", "not put back yet"
        if audio == "keep" and shutil.which("ffmpeg") is None:
            raise VideoError(
                "audio='keep' needs PyAV (pip install 'colorcv[video]') or an ffmpeg on PATH: "
                "OpenCV reads no sound"
            )

        def add_sound() -> tuple[str, str]:
            with_sound = unfinished.with_sound
            done = opencv.add_sound(unfinished.path, source, with_sound, start=start, end=end)
            if with_sound.exists():
                with_sound.replace(unfinished.path)
            if done[0] == "dropped":
                if audio == "keep":
                    raise VideoError(f"the sound cannot be kept: {done[1]}")
                log.warning("%s: the film is silent: %s", source, done[1])
            return done

    width, height = (even(side) for side in reader.size_wh)
    size_wh = (2 * width if compare else width), height
    writer = opencv.OpenCVWriter(
        unfinished.path, size_wh, reader.rate, codec=codec, quality=quality
    )
    note_odd_size(reader, writer.notes)

    def paint(shot: opencv.OpenCVFrame, chroma: Float32) -> Any:
        return opencv.paint(shot, chroma, saturation, compare)

    return Transcode(reader, writer, size_wh, paint, state, add_sound, constant_rate=True)


def even(side: int) -> int:
    """The next even number."""
    return side + side % 2


def note_odd_size(reader: Any, notes: list[str]) -> None:
    """Say what becomes of an odd size."""
    width, height = reader.size_wh
    if width % 2 or height % 2:
        what = " and ".join(name for name, side in (("column", width), ("row", height)) if side % 2)
        notes.append(
            f"{width}x{height} is odd: the last {what} is repeated once "
            f"({even(width)}x{even(height)}), as 4:2:0 stores chroma in pairs"
        )


def travel(
    road: Transcode,
    track: ChromaPropagator,
    clock: Clock,
    progress: Callable[[int, int | None], None] | None,
) -> None:
    """Colour every frame; when this returns, the output is complete but for its name."""
    reader, writer = road.reader, road.writer
    finished = False
    try:
        with Crew() as crew:
            shots: Lane[Any] = crew.lane(READ_AHEAD)
            work: Lane[tuple[Any, Any]] = crew.lane(WRITE_BEHIND)
            crew.start(lambda: _read(reader, shots, work, clock), "read")
            crew.start(lambda: _write(road, work, clock), "write")
            total = reader.total
            frames = track.propagate(_looks(shots, clock))
            began = time.perf_counter()
            for done, (shot, lightness, ab) in enumerate(frames, 1):
                chroma = lab.upsample_chroma(ab, lightness)
                handing_on = time.perf_counter()
                work.put((shot, chroma))
                clock.add("waiting", time.perf_counter() - handing_on)
                if progress is not None:
                    progress(done, total)
            work.close()
            busy = time.perf_counter() - began
        seconds = clock.seconds
        waiting = seconds.pop("waiting", 0.0)
        seconds["chroma"] = seconds.pop("painting", 0.0) + max(
            0.0, busy - waiting - seconds.get("network", 0.0)
        )
        if reader.varies and road.constant_rate:
            writer.notes.append(
                "the frame rate varies and was made constant: sound may drift (PyAV keeps it)"
            )
        if road.add_sound is not None:
            road.audio = road.add_sound()
        finished = True
    finally:
        reader.close()
        if not finished:
            writer.abandon()


def _read(reader: Any, shots: Lane[Any], work: Lane[tuple[Any, Any]], clock: Clock) -> None:
    waited = 0.0

    def hand_on(shot: Any) -> None:
        nonlocal waited
        began = time.perf_counter()
        shots.put(shot)
        waited += time.perf_counter() - began

    began = time.perf_counter()
    reader.read(hand_on, lambda packet: work.put((None, packet)))
    clock.add("decode", time.perf_counter() - began - waited)
    shots.close()


def _looks(shots: Lane[Any], clock: Clock) -> Iterator[tuple[Any, Float32]]:
    began = time.perf_counter()
    for shot in shots:
        clock.add("waiting", time.perf_counter() - began)
        yield shot, shot.lightness
        began = time.perf_counter()


def _write(road: Transcode, work: Lane[tuple[Any, Any]], clock: Clock) -> None:
    writer = road.writer
    for shot, chroma_or_packet in work:
        if shot is None:
            writer.copy(chroma_or_packet)
            continue
        began = time.perf_counter()
        frame = road.paint(shot, chroma_or_packet)
        painted = time.perf_counter()
        writer.write(frame)
        clock.add("painting", painted - began)
        clock.add("encode", time.perf_counter() - painted)
    began = time.perf_counter()
    writer.finish()
    clock.add("encode", time.perf_counter() - began)
