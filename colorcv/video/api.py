"""`colorize_video` and `preview`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._logging import logger
from .._typing import Device, IgnoreBorder, Memory, ModelName, StrPath, UInt8Array
from ..errors import OptionError, VideoError
from ..frames import FrameColorizer, has_features, interval_for
from ..image.validation import check_ignore_border, check_saturation, check_strength
from ..steering.editing import prepare_reference
from ..steering.hints import Hints
from ..temporal import ChromaPropagator
from .backends import has_pyav, open_transcode, sample_frames
from .border import SceneBorder
from .options import VideoOptions
from .output import TemporaryOutput, check_output, default_output
from .pipeline import StageTimer, run_pipeline
from .result import VideoResult
from .steering import VideoSteering

__all__ = ["VideoResult", "colorize_video", "default_output", "has_pyav", "preview"]

if TYPE_CHECKING:
    from ..models import ModelFiles, OnnxModel

CHECK_INTERVAL_S = 2.0  # seconds between checks of the temporary output


def colorize_video(
    source: StrPath | int | Any,
    output: StrPath | None = None,
    *,
    model: ModelName | str | ModelFiles | OnnxModel = "zhang2016",
    device: Device = "auto",
    memory: Memory = "auto",
    colorizer: FrameColorizer | None = None,
    keyframe_interval: int | None = None,
    smooth: bool = True,
    hold_colors: bool = True,
    saturation: float = 1.0,
    hints: Mapping[float, Hints] | None = None,
    reference: Any = None,
    reference_strength: float = 1.0,
    codec: str = "auto",
    quality: int | str | None = None,
    audio: str = "auto",
    start: float | None = None,
    end: float | None = None,
    progress: Callable[[int, int | None], None] | None = None,
    overwrite: bool = False,
    compare: bool = False,
    ignore_border: IgnoreBorder = "auto",
) -> VideoResult:
    """Colour a video.

    With PyAV (``pip install av``), the luma and the time stamp of every frame, the rotation, the
    pixel aspect ratio and the audio are kept. With OpenCV alone, the frame rate becomes constant,
    and the ``ffmpeg`` on PATH, if there is one, adds the audio.

    Parameters
    ----------
    source : path, camera number, or an open `cv2.VideoCapture` or similar object
        A camera records until `end`, in seconds.
    output : path, optional
        Default ``<stem>.color<ext>`` beside the source; the suffix selects the container.
    model, device, memory
        As for `Colorizer`.
    colorizer : Colorizer, optional
        An existing one, in place of `model`, `device` and `memory`.
    keyframe_interval : int, optional
        The network runs on every n-th frame, and also at cuts and where motion is lost. Default 8,
        or up to 16 for networks that take much longer than zhang2016.
    smooth : bool
        Smooth the colours in time.
    hold_colors : bool
        Hold the colours of each scene: its earlier key frames are a reference for its later ones.
        Only with `smooth`, and a colorizer that has `predict_features`.
    saturation : float, 0..10
        Factor on chroma; 1 is the model's default.
    hints : mapping of float to hints, optional
        Colours that you know: seconds from the start of the video, and what `colorize` takes as
        hints of the frame that is shown then, in pixels of the upright frame. They hold for its
        whole scene, before and after it, and not beyond the cuts. Files only.
    reference : image, path, sequence of them or `Reference`, optional
        Colour images, of which colours are taken where the network sees the same kind of thing;
        a coloured frame of the video itself is the best one.
    reference_strength : float, 0..1
        How far to follow the references.
    codec : str
        "auto" (H.264; VP9 for .webm), "h264", "hevc", "vp9", "av1" or "ffv1" with PyAV; "auto",
        "mpeg4", "mjpeg", "vp8", "vp9" or "ffv1" with OpenCV alone. A 10-bit video stays 10-bit
        where the codec can.
    quality : int or "lossless", optional
        CRF: a smaller value means better quality and a larger file; each codec has its own
        default. "lossless" (not for AV1) writes luma without any loss. Needs PyAV.
    audio : {"auto", "keep", "none"}
        "auto" keeps the audio if it can, and otherwise reports why not; "keep" raises an error
        instead; "none" leaves it out.
    start, end : float, optional
        The part to colour, in seconds from the start of the video.
    progress : callable, optional
        Called as ``progress(done, total)`` after every frame; `total` is None if unknown.
    overwrite : bool
        Replace an existing output.
    compare : bool
        Put the grey and the coloured video side by side.
    ignore_border : {"auto", True, False}
        Letterbox and pillarbox bars, and other borders as `colorize` finds them, are left out of
        the network's input and stay grey. They are found in the first frames of a scene and kept
        until the next cut. With False, and in scenes with `hints`, everything is coloured.

    Returns
    -------
    VideoResult

    Raises
    ------
    VideoError
        The video cannot be read or written. No output is created, an existing one is kept, and
        the source is unchanged.
    OptionError
        An option is out of its range, or hints have a time at which no frame is coloured.
    ImageError
        A reference is grey or not an image, a hint is outside of the frame, or strokes have
        another shape than it.

    Notes
    -----
    With hints, the file is first read up to the last hinted frame, to know its scene. Colours that
    hints determine are not moved by `hold_colors`.

    The output is written under a temporary name in its folder and renamed when it is complete.

    The luma Y of a YUV video is kept bit for bit and only U and V are replaced, whereas a photo
    keeps its lightness L*; the two differ slightly in saturated colours. Only the luma of a colour
    video is used. About 24 frames are in memory at a time, whatever the length of the video.
    """
    started = time.perf_counter()
    options = VideoOptions(saturation, codec, quality, audio, start, end, compare, ignore_border)
    path, target = _check_paths(source, output, overwrite)
    if colorizer is None:
        from ..api import default_colorizer

        colorizer = default_colorizer(model, device, memory)
    steering = VideoSteering(colorizer, hints, reference, reference_strength)
    if steering.has_hints and path is None:
        raise OptionError("hints need a video file: a camera or capture cannot be read twice")
    timer = StageTimer()
    border = SceneBorder(
        timer.timed("network", lambda light: steering.predict_chroma(light, propagator.scene)),
        options.ignore_border,
        steering.is_hinted,  # hints are placed on the whole frame
        timer.timed("network", lambda light: steering.predict_held(light, propagator.scene)),
    )
    propagator = ChromaPropagator(
        lambda light: border.predict_ab(light, propagator.scene),
        keyframe_interval=interval_for(colorizer, keyframe_interval),
        smooth=smooth,
        predict_features=(lambda light: border.predict_features(light, propagator.scene))
        if hold_colors and has_features(colorizer)
        else None,
    )
    temporary = TemporaryOutput(target, overwrite)
    try:
        transcode = open_transcode(
            source if path is None else path,
            temporary,
            colorizer.input_hw,
            options,
            use_pyav=has_pyav(),
        )
        try:
            steering.find_scenes(transcode.reader)
        except BaseException:
            transcode.reader.close()
            transcode.writer.abort()
            raise
        run_pipeline(transcode, propagator, border, timer, _with_checks(temporary, progress))
        temporary.commit()
    finally:
        temporary.discard()
    seconds = time.perf_counter() - started
    reader, writer = transcode.reader, transcode.writer
    notes = [*reader.notes, *writer.notes]
    if path is not None and target.suffix.lower() != path.suffix.lower() and output is None:
        notes.append(f"written as {target.suffix}: {path.suffix} cannot hold H.264")
    damaged = reader.damaged + writer.damaged
    if damaged:
        notes.append(f"{damaged} damaged packet(s) were skipped")
    for note in notes:
        logger.warning("%s: %s", target, note)
    return VideoResult(
        path=target,
        frames=writer.written,
        fps=float(reader.rate),
        duration_s=writer.duration_s,
        size_wh=transcode.size_wh,
        network_runs=propagator.network_runs,
        scene_cuts=len(propagator.cut_frames),
        cut_frames=tuple(propagator.cut_frames),
        audio=transcode.audio.state,
        audio_reason=transcode.audio.reason,
        seconds=seconds,
        frames_per_second=writer.written / seconds,
        damaged_packets=damaged,
        notes=tuple(notes),
        stage_seconds=timer.seconds,
    )


def preview(
    source: StrPath,
    n: int,
    *,
    model: ModelName | str | ModelFiles | OnnxModel = "zhang2016",
    device: Device = "auto",
    memory: Memory = "auto",
    colorizer: Any = None,
    saturation: float = 1.0,
    reference: Any = None,
    reference_strength: float = 1.0,
    ignore_border: IgnoreBorder = "auto",
) -> Iterator[tuple[float, UInt8Array, UInt8Array]]:
    """Colour `n` evenly spaced frames of a video, to judge the result before an hour of work.

    Parameters
    ----------
    source : path
    n : int
        1 or more; if the video has fewer frames, all are coloured.
    model, device, memory, colorizer, saturation, reference, reference_strength, ignore_border
        As for `colorize_video`.

    Yields
    ------
    time_s, frame, colored : float, (H, W, 3) uint8 BGR, (H, W, 3) uint8 BGR
        Time of the frame in the video, the frame, and the frame in colour; upright.

    Raises
    ------
    VideoError
        The video cannot be read.
    OptionError
        An option is out of its range.
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise OptionError(
            f"the number of preview frames must be an integer of at least 1, got {n!r}"
        )
    check_saturation(saturation)
    check_strength(reference_strength)
    check_ignore_border(ignore_border)
    if not Path(source).is_file():
        raise VideoError(f"{source}: no such file")
    if colorizer is None:
        from ..api import default_colorizer

        colorizer = default_colorizer(model, device, memory)
    steered = {}
    if reference is not None:
        prepared = prepare_reference(colorizer, reference, "bgr")
        steered = {"reference": prepared, "reference_strength": reference_strength}
    for time_s, frame in sample_frames(Path(source), n, use_pyav=has_pyav()):
        colored = colorizer.colorize(
            frame, saturation=saturation, ignore_border=ignore_border, **steered
        )
        yield time_s, frame, colored


def _with_checks(
    temporary: TemporaryOutput, progress: Callable[[int, int | None], None] | None
) -> Callable[[int, int | None], None]:
    """Return `progress` with a check of the output every few seconds, so that errors show early."""
    checked_at = time.monotonic()

    def checked_progress(done: int, total: int | None) -> None:
        nonlocal checked_at
        if progress is not None:
            progress(done, total)
        if time.monotonic() - checked_at >= CHECK_INTERVAL_S:
            temporary.check()
            checked_at = time.monotonic()

    return checked_progress


def _check_paths(source: Any, output: StrPath | None, overwrite: bool) -> tuple[Path | None, Path]:
    """Return the paths of the source (None for a camera or capture) and of the output."""
    path = Path(source) if isinstance(source, (str, os.PathLike)) else None
    if path is not None and not path.is_file():
        raise VideoError(f"{path}: no such file")
    if path is None and not isinstance(source, int) and not hasattr(source, "read"):
        raise OptionError(f"expected a path, a camera number or a cv2.VideoCapture, got {source!r}")
    if output is None and path is None:
        raise OptionError("a camera has no file name; pass output='FILE.mp4'")
    target = default_output(path) if output is None and path is not None else Path(str(output))
    check_output(target, path, overwrite)
    return path, target
