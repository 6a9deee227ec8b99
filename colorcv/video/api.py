"""Films in colour: read, colour, write; the sound and the time stamps come through untouched."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..errors import OptionError, VideoError
from ..frames import FrameColorizer, predict_chroma
from ..image.source import check_saturation
from ..temporal import ChromaPropagator
from .opencv import stills
from .output import Unfinished, check_output, default_output
from .pipeline import Clock, has_pyav, open_transcode, travel
from .result import VideoResult

__all__ = ["VideoResult", "colorize_video", "default_output", "has_pyav", "preview"]

if TYPE_CHECKING:
    from ..models import ModelFiles

Float32 = npt.NDArray[np.float32]
Array = npt.NDArray[Any]
log = logging.getLogger("colorcv")

AUDIO = ("auto", "keep", "none")
LONGEST_S = 1e8  # three years: what containers can count to, and no film lasts


def colorize_video(
    source: str | os.PathLike[str] | int | Any,
    output: str | os.PathLike[str] | None = None,
    *,
    model: str | ModelFiles = "zhang2016",
    device: str = "auto",
    colorizer: FrameColorizer | None = None,
    keyframe_interval: int = 8,
    smooth: bool = True,
    saturation: float = 1.0,
    codec: str = "auto",
    quality: int | None = None,
    audio: str = "auto",
    start: float | None = None,
    end: float | None = None,
    progress: Callable[[int, int | None], None] | None = None,
    overwrite: bool = False,
    compare: bool = False,
) -> VideoResult:
    """Colour a film.

    With PyAV (``pip install 'colorcv[video]'``) the luma of every frame, its time, the rotation,
    the shape of pixels and the sound come through as they are. With OpenCV alone the frame rate
    becomes constant, and the sound is put back by an ``ffmpeg`` on PATH, where there is one.

    Parameters
    ----------
    source : path, camera number, or an open `cv2.VideoCapture` or its like
        A camera records until `end`, in seconds.
    output : path, optional
        ``<stem>.color<ext>`` beside the source; the suffix says which container.
    model, device
        As for `Colorizer`.
    colorizer : Colorizer, optional
        One that is there already, in place of `model` and `device`.
    keyframe_interval : int
        Every how many frames the network runs; it also runs at cuts and where motion is lost.
    smooth : bool
        Steady the colours in time.
    saturation : float, 0..10
        Factor on chroma.
    codec : str
        "auto" (H.264; VP9 for .webm), "h264", "hevc", "vp9", "av1" or "ffv1" with PyAV; "auto",
        "mpeg4", "mjpeg", "vp8", "vp9" or "ffv1" with OpenCV alone. A film of 10 bits stays so
        where the codec can.
    quality : int, optional
        CRF, smaller is better and larger; each codec has its own usual one. Needs PyAV.
    audio : {"auto", "keep", "none"}
        "auto" keeps the sound where it can be kept and says where not; "keep" makes that an
        error; "none" leaves it out.
    start, end : float, optional
        The part to colour, in seconds from the film's beginning.
    progress : callable, optional
        Called as ``progress(done, total)`` after every frame; `total` is None where unknown.
    overwrite : bool
        Take the place of an existing output.
    compare : bool
        Put the grey film and the coloured one side by side.

    Returns
    -------
    VideoResult

    Raises
    ------
    VideoError
        The film cannot be read or written; the message says what to do. Nothing is then under
        the output's name, and the source is untouched.
    OptionError
        An option has a value that is not taken.

    Notes
    -----
    The output is written under a temporary name in its folder and renamed when it is complete.

    Of a film in YUV the luma Y is kept bit for bit and U and V are written, where a photo keeps
    its lightness L*: the two differ a little in saturated colours. A film that was in colour is
    taken for its luma. About 24 frames are held at a time, whatever the film's length.
    """
    began = time.perf_counter()
    check_saturation(saturation)
    _check_part(start, end)
    if audio not in AUDIO:
        raise OptionError(f"audio is one of {', '.join(AUDIO)}, not {audio!r}")
    path = Path(source) if isinstance(source, (str, os.PathLike)) else None
    if path is not None and not path.is_file():
        raise VideoError(f"{path} is no file: name the film to colour")
    if path is None and not isinstance(source, int) and not hasattr(source, "read"):
        raise OptionError(f"a film is a path, a camera's number or a capture, not {source!r}")
    if output is None and path is None:
        raise OptionError("a camera has no name to make an output's from: say output=...")
    target = default_output(path) if output is None and path is not None else Path(str(output))
    check_output(target, path, overwrite)
    if colorizer is None:
        from ..api import default_colorizer

        colorizer = default_colorizer(model, device)
    clock = Clock()
    track = ChromaPropagator(
        clock.timed("network", partial(predict_chroma, colorizer)),
        keyframe_interval=keyframe_interval,
        smooth=smooth,
    )
    unfinished = Unfinished(target, overwrite)
    try:
        road = open_transcode(
            source if path is None else path,
            unfinished,
            colorizer.input_hw,
            with_pyav=has_pyav(),
            saturation=saturation,
            codec=codec,
            quality=quality,
            audio=audio,
            start=start,
            end=end,
            compare=compare,
        )
        travel(road, track, clock, progress)
        unfinished.finish()
    finally:
        unfinished.discard()
    seconds = time.perf_counter() - began
    notes = (*road.reader.notes, *road.writer.notes)
    if path is not None and target.suffix.lower() != path.suffix.lower() and output is None:
        notes = (*notes, f"written as {target.suffix}: {path.suffix} does not take H.264")
    for note in notes:
        log.warning("%s: %s", target, note)
    count = road.writer.written
    return VideoResult(
        path=target,
        frames=count,
        fps=float(road.reader.rate),
        duration_s=road.writer.duration_s,
        size_wh=road.size_wh,
        network_runs=track.network_runs,
        scene_cuts=len(track.cut_frames),
        cut_frames=tuple(track.cut_frames),
        audio=road.audio[0],
        audio_reason=road.audio[1],
        seconds=seconds,
        frames_per_second=count / seconds,
        damaged_packets=road.reader.damaged + road.writer.damaged,
        notes=notes,
        stage_seconds=clock.seconds,
    )


def preview(
    source: str | os.PathLike[str],
    n: int,
    *,
    model: str | ModelFiles = "zhang2016",
    device: str = "auto",
    colorizer: Any = None,
    saturation: float = 1.0,
) -> Iterator[tuple[float, Array, Array]]:
    """Colour `n` evenly spaced stills of a film, to judge before an hour of work.

    Parameters
    ----------
    source : path
    n : int
        How many, 1 or more; a film with fewer frames gives as many as it has.
    model, device, colorizer, saturation
        As for `colorize_video`.

    Yields
    ------
    time_s, frame, colored : float, (H, W, 3) uint8 BGR, (H, W, 3) uint8 BGR
        Where in the film, the still, and the still in colour; upright.

    Raises
    ------
    VideoError
        The film cannot be read.
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise OptionError(f"a preview has 1 or more stills, not {n!r}")
    check_saturation(saturation)
    if not Path(source).is_file():
        raise VideoError(f"{source} is no file: name the film to look at")
    if colorizer is None:
        from ..api import default_colorizer

        colorizer = default_colorizer(model, device)
    for time_s, frame in stills(Path(source), n):
        yield time_s, frame, colorizer.colorize(frame, saturation=saturation)


def _check_part(start: float | None, end: float | None) -> None:
    for name, value in (("start", start), ("end", end)):
        if value is not None and not (
            isinstance(value, (int, float, np.number)) and 0 <= value <= LONGEST_S
        ):
            raise OptionError(f"{name} is a time in seconds, 0 to {LONGEST_S:g}, not {value!r}")
    if end is not None and end <= (start or 0):
        raise OptionError(f"end ({end:g} s) lies after start ({start or 0:g} s)")
