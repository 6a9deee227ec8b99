"""Encoding and muxing with PyAV."""

from __future__ import annotations

import logging
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av

from ...errors import OptionError, VideoError
from ..options import VideoOptions
from .passthrough import PassthroughStreams
from .planes import JPEG_RANGE, MPEG_RANGE, error_text

__all__ = ["CODECS", "Codec", "PyAVWriter", "count_packets"]

logger = logging.getLogger("colorcv")


class Codec(NamedTuple):
    """An encoder and its settings.

    Attributes
    ----------
    encoder : str
        FFmpeg's name.
    default_crf : int or None
        None for a lossless encoder.
    max_crf : int
    options : dict of str to str
        Passed to the encoder.
    """

    encoder: str
    default_crf: int | None
    max_crf: int
    options: dict[str, str]


# The default CRFs keep luma at 44 dB or better on the developers' clips (tests/video).
CODECS = {
    "h264": Codec("libx264", 17, 51, {"preset": "veryfast"}),
    "hevc": Codec("libx265", 17, 51, {"preset": "veryfast", "x265-params": "log-level=error"}),
    "vp9": Codec(
        "libvpx-vp9", 16, 63, {"deadline": "good", "cpu-used": "5", "row-mt": "1", "b": "0"}
    ),
    "av1": Codec("libsvtav1", 18, 63, {"preset": "9"}),
    "ffv1": Codec("ffv1", None, 0, {}),
}


def encoder_for(codec: str, quality: int | None, suffix: str) -> tuple[str, str, dict[str, str]]:
    """Return the name of the codec, its encoder and the encoder's options.

    Raises
    ------
    OptionError
        Unknown codec, or a quality out of the codec's range.
    VideoError
        PyAV was built without the encoder.
    """
    if codec == "auto":
        codec = "vp9" if suffix.lower() == ".webm" else "h264"
    if codec not in CODECS:
        raise OptionError(f"codec {codec!r} is none of auto, {', '.join(CODECS)}")
    encoder, default_crf, max_crf, settings = CODECS[codec]
    options = dict(settings)
    if quality is not None:
        if default_crf is None:
            raise OptionError(f"{codec} is lossless and takes no quality, not {quality}")
        if not 0 <= quality <= max_crf:
            raise OptionError(f"quality of {codec} is 0 (best) to {max_crf}, not {quality}")
    if default_crf is not None:
        options["crf"] = str(default_crf if quality is None else quality)
    if encoder not in av.codecs_available:
        raise VideoError(f"this PyAV has no {encoder}: choose another codec, or install a wheel")
    return codec, encoder, options


# Time stamps are kept as they are, and MP4 files can be played while they load.
MUXER_OPTIONS = {
    **dict.fromkeys((".mp4", ".m4v", ".mov"), ("movflags", "+faststart")),
    **dict.fromkeys((".mkv", ".webm"), ("avoid_negative_ts", "disabled")),
    **dict.fromkeys((".ts", ".m2ts", ".mts"), ("mpegts_copyts", "1")),
}
# Containers that store no presentation time, or badly: frames must not be reordered.
NO_B_FRAMES = {".avi", ".ts", ".m2ts", ".mts", ".flv"}


class PyAVWriter:
    """Encode frames into a new file and mux packets of other streams.

    Parameters
    ----------
    path : Path
        The suffix selects the container.
    size_wh : (int, int)
        Even columns and rows.
    rate, time_base : Fraction
        Frames per second, and the unit of the frames' time stamps.
    bits : int
        Of the source's luma, 8 or more; more than 8 become 10 where the codec can.
    options : VideoOptions
        `codec` and `quality` are used.

    Attributes
    ----------
    container : av.container.OutputContainer
    stream : av.video.stream.VideoStream
    pixel_format : str
        Of the frames that `write_frame` takes.
    passthrough : PassthroughStreams or None
        To be set before `start`.

    Raises
    ------
    OptionError
        Unknown codec, or a quality out of its range.
    VideoError
        The container is unknown or does not take the codec.
    """

    def __init__(
        self,
        path: Path,
        size_wh: tuple[int, int],
        rate: Fraction,
        time_base: Fraction,
        bits: int,
        options: VideoOptions,
    ) -> None:
        self.path = path
        self.notes: list[str] = []
        self.written = 0
        self._first_pts = self._last_pts = 0
        self.passthrough: PassthroughStreams | None = None
        codec, encoder, settings = encoder_for(options.codec, options.quality, path.suffix)
        self.pixel_format = _pixel_format(encoder, bits)
        if bits > 8 and self.pixel_format == "yuv420p":
            self.notes.append(f"{bits}-bit luma is written with 8 bits, all that {codec} takes")
        elif bits > 8 and codec == "h264":
            self.notes.append(
                "10 bits were kept; few browsers play 10-bit H.264, more play codec='av1'"
            )
        suffix = path.suffix.lower()
        muxer = dict([MUXER_OPTIONS[suffix]]) if suffix in MUXER_OPTIONS else {}
        try:
            self.container = av.open(f"file:{path}", "w", container_options=muxer)
        except (av.error.FFmpegError, ValueError, OSError) as err:
            raise VideoError(
                f"a film cannot be written as {path.suffix}: {error_text(err)}; "
                "choose .mp4, .mkv or .webm for the output"
            ) from err
        try:
            stream: Any = self.container.add_stream(encoder, rate=rate, options=settings)
        except ValueError as err:
            self.abort()
            raise VideoError(
                f"{path.suffix} does not take {codec}: choose .mp4 or .mkv for the output"
            ) from err
        if suffix in NO_B_FRAMES:
            stream.max_b_frames = 0
        stream.width, stream.height = size_wh
        stream.pix_fmt = self.pixel_format
        stream.codec_context.time_base = stream.time_base = time_base
        if codec == "hevc" and "movflags" in muxer:
            stream.codec_context.codec_tag = "hvc1"  # Apple's players take no other
        self.stream = stream
        self._rate, self._time_base = rate, time_base

    def set_color_tags(
        self, matrix: int, full_range: bool, primaries: int = 2, transfer: int = 2
    ) -> None:
        """Tag the stream; primaries and transfer that are unknown (0 or 2) become BT.709."""
        context = self.stream.codec_context
        context.colorspace = matrix
        context.color_range = JPEG_RANGE if full_range else MPEG_RANGE
        context.color_primaries = primaries if primaries not in (0, 2) else 1
        context.color_trc = transfer if transfer not in (0, 2) else 1

    def start(self) -> None:
        """Write the header.

        Raises
        ------
        VideoError
            The container does not take the streams.
        """
        try:
            self.container.start_encoding()
        except (av.error.FFmpegError, ValueError, OSError) as err:
            raise self._failed(err) from err

    def write_frame(self, frame: Any) -> None:
        """Encode one `av.VideoFrame`."""
        if not self.written:
            self._first_pts = frame.pts
        self._last_pts = frame.pts
        self.written += 1
        self._mux(frame)

    def write_packet(self, packet: Any) -> None:
        """Copy or re-encode one packet of another stream."""
        try:
            if self.passthrough is not None:
                self.passthrough.mux(packet)
        except (av.error.FFmpegError, OSError) as err:
            raise self._failed(err) from err

    def close(self) -> None:
        """Flush the encoders, close the file and count its frames.

        Raises
        ------
        VideoError
            The disk is full, or the file does not hold what was written.
        """
        try:
            self._mux(None)
            if self.passthrough is not None:
                self.passthrough.flush()
            self.container.close()
            counted = count_packets(self.path)
        except (av.error.FFmpegError, OSError, ValueError) as err:
            raise self._failed(err) from err
        if counted != self.written:
            raise VideoError(
                f"{self.written} frames were written but the file has {counted}: is the disk full?"
            )

    def abort(self) -> None:
        """Close the file without completing it."""
        try:
            self.container.close()
        except Exception as err:  # of any kind: the file will be removed
            logger.debug("closing an incomplete video: %s", err)

    @property
    def damaged(self) -> int:
        """Packets of audio and subtitles that were skipped."""
        return 0 if self.passthrough is None else self.passthrough.damaged

    @property
    def duration_s(self) -> float:
        """Seconds from the start of the first frame to the end of the last, at the mean rate."""
        span = (self._last_pts - self._first_pts) * self._time_base
        return float(span + 1 / self._rate) if self.written else 0.0

    def _mux(self, frame: Any) -> None:
        try:
            self.container.mux(self.stream.encode(frame))
        except (av.error.FFmpegError, OSError, ValueError) as err:
            raise self._failed(err) from err

    def _failed(self, err: BaseException) -> VideoError:
        return VideoError(
            f"the film cannot be written: {error_text(err)}; is there room on the disk, and does "
            f"{self.path.suffix} take these streams? (.mkv takes nearly all)"
        )


def count_packets(path: Path) -> int:
    """Return the number of packets of the first video stream: one for each frame."""
    with av.open(f"file:{path}") as container:
        return sum(1 for packet in container.demux(video=0) if packet.size)


def _pixel_format(encoder: str, bits: int) -> str:
    formats = {f.name for f in av.codec.Codec(encoder, "w").video_formats or ()}
    return "yuv420p10le" if bits > 8 and "yuv420p10le" in formats else "yuv420p"
