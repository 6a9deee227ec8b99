"""OpenCV backend: open a transcode and render BGR frames."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..._logging import logger
from ..._typing import Float32Array, UInt8Array
from ...errors import VideoError
from ...image.io import side_by_side
from ...image.source import SourceImage
from .. import ffmpeg
from ..options import VideoOptions
from ..output import TemporaryOutput
from ..transcode import AudioOutcome, Transcode, note_odd_size, output_size_wh, round_up_to_even
from .reader import OpenCVFrame, OpenCVReader
from .writer import OpenCVWriter

__all__ = ["open_opencv", "render_bgr"]


def open_opencv(
    reader: OpenCVReader, source: Any, output: TemporaryOutput, options: VideoOptions
) -> Transcode[OpenCVFrame]:
    """Open the output; the ``ffmpeg`` program adds the audio at the end.

    Raises
    ------
    VideoError
        The output cannot be written, or ``audio="keep"`` cannot be met.
    """
    mux_audio = None
    audio = AudioOutcome("none", "audio of a camera is not recorded")
    if options.audio == "none":
        audio = AudioOutcome("none", "left out as asked")
    elif isinstance(source, Path):
        audio = AudioOutcome("dropped", "not added yet")
        if options.audio == "keep" and shutil.which("ffmpeg") is None:
            raise VideoError(
                "cannot keep the audio: OpenCV cannot read it; install PyAV (pip install av) or "
                "ffmpeg"
            )

        def mux_audio() -> AudioOutcome:
            outcome = ffmpeg.mux_audio(
                output.path, source, output.remux_path, options, writer.notes
            )
            if output.remux_path.exists():
                output.remux_path.replace(output.path)
            if outcome.state == "dropped":
                if options.audio == "keep":
                    raise VideoError(f"cannot keep the audio: {outcome.reason}")
                logger.warning("%s: the output has no audio: %s", source, outcome.reason)
            return outcome

    size_wh = output_size_wh(reader.size_wh, options)
    writer = OpenCVWriter(output.path, size_wh, reader.rate, options)
    note_odd_size(reader.size_wh, writer.notes)
    if reader.sample_aspect_ratio != 1:
        ratio = reader.sample_aspect_ratio
        writer.notes.append(
            f"pixels of {ratio.numerator}:{ratio.denominator} are shown as 1:1: OpenCV cannot "
            "write the pixel aspect ratio; PyAV can (pip install av)"
        )

    def render(frame: OpenCVFrame, chroma: Float32Array) -> UInt8Array:
        return render_bgr(frame, chroma, options)

    return Transcode(reader, writer, render, size_wh, audio, mux_audio, needs_cfr=True)


def render_bgr(frame: OpenCVFrame, chroma: Float32Array, options: VideoOptions) -> UInt8Array:
    """Return the coloured frame, (H, W, 3) uint8 BGR, padded to even rows and columns."""
    image = SourceImage(frame.bgr)
    colored = _pad_to_even(image.colored(chroma, saturation=options.saturation))
    if not options.compare:
        return colored
    return np.asarray(side_by_side(_pad_to_even(frame.bgr), colored), np.uint8)


def _pad_to_even(bgr: UInt8Array) -> UInt8Array:
    height, width = bgr.shape[:2]
    bottom, right = round_up_to_even(height) - height, round_up_to_even(width) - width
    if not bottom and not right:
        return bgr
    padded = cv2.copyMakeBorder(bgr, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
    return np.asarray(padded, np.uint8)
