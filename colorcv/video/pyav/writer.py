"""Encode and mux with PyAV: `PyAVWriter`."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import av

from ..._logging import logger
from ...errors import VideoError
from ..options import VideoOptions
from .codecs import encoder_settings
from .inspection import VideoProperties, inspect_video
from .matroska import set_pixel_aspect_ratio
from .passthrough import PassthroughStreams
from .planes import JPEG_RANGE, MPEG_RANGE, error_text

__all__ = ["PyAVWriter"]


# Time stamps are kept as they are, and MP4 files can be played while they load.
MUXER_OPTIONS = {
    **dict.fromkeys((".mp4", ".m4v", ".mov"), ("movflags", "+faststart")),
    **dict.fromkeys((".mkv", ".webm"), ("avoid_negative_ts", "disabled")),
    **dict.fromkeys((".ts", ".m2ts", ".mts"), ("mpegts_copyts", "1")),
}
# Containers that store no presentation times, or unreliable ones: frames must not be reordered.
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
        Of the source's luma, 8 or more; more than 8 become 10 if the codec has 10.
    options : VideoOptions
        `codec` and `quality` are used.
    sink : binary file, optional
        Written to in place of `path`, whose suffix still selects the container.

    Attributes
    ----------
    container : av.container.OutputContainer
    stream : av.video.stream.VideoStream
    codec : str
    pixel_format : str
        Of the frames that `write_frame` takes.
    sample_aspect_ratio, display_matrix
        As given to `set_geometry`.
    passthrough : PassthroughStreams or None
        Set it before `start`.

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
        *,
        sink: BinaryIO | None = None,
    ) -> None:
        self.path = path
        self.notes: list[str] = []
        self.written = 0
        self.sample_aspect_ratio: Fraction | None = None
        self.display_matrix: list[int] | None = None
        self._first_pts = self._last_pts = 0
        self.passthrough: PassthroughStreams | None = None
        suffix = path.suffix.lower()
        settings = encoder_settings(options.codec, options.quality, suffix, bits)
        self.codec, self.pixel_format = settings.codec, settings.pixel_format
        self._note_bits(settings.codec, bits)
        muxer = dict([MUXER_OPTIONS[suffix]]) if suffix in MUXER_OPTIONS else {}
        self._sink = sink
        target: Any = f"file:{path}"
        if sink is not None:
            muxer.pop("movflags", None)  # libavformat would reopen the file by its name
            target = _NamedSink(sink, str(path))
        try:
            self.container = av.open(target, "w", container_options=muxer)
        except (av.error.FFmpegError, ValueError, OSError) as err:
            raise VideoError(
                f"cannot write {path.suffix} ({error_text(err)}); use .mp4, .mkv or .webm for the "
                "output"
            ) from err
        try:
            stream: Any = self.container.add_stream(
                settings.encoder, rate=rate, options=settings.options
            )
        except ValueError as err:
            self.abort()
            raise VideoError(
                f"{suffix} cannot hold {settings.codec}; use .mp4 or .mkv for the output"
            ) from err
        if suffix in NO_B_FRAMES:
            stream.max_b_frames = 0
        stream.width, stream.height = size_wh
        stream.pix_fmt = self.pixel_format
        if settings.encoder == "libx264":
            # PyAV's default, slices of each frame, makes every frame wait for its slowest slice:
            # 7 % slower by the clock at 1280x720 and files 0.5 % larger.
            stream.codec_context.thread_type = "FRAME"
        stream.codec_context.time_base = stream.time_base = time_base
        if settings.codec == "hevc" and suffix in (".mp4", ".m4v", ".mov"):
            stream.codec_context.codec_tag = "hvc1"  # Apple's players take no other
        self.stream = stream
        # H.264 and HEVC hold the pixel aspect ratio themselves.
        self._has_no_ratio = suffix in (".mkv", ".webm") and settings.codec in (
            "vp9",
            "av1",
            "ffv1",
        )
        self.rate, self.time_base = rate, time_base

    def _note_bits(self, codec: str, bits: int) -> None:
        if bits > 8 and self.pixel_format == "yuv420p":
            self.notes.append(f"luma of {bits} bits is written with 8, the most that {codec} takes")
        elif bits > 10:
            self.notes.append(f"luma of {bits} bits is written with 10")
        elif bits > 8 and codec == "h264":
            self.notes.append(
                "10 bits were kept; few browsers play 10-bit H.264, more play codec='av1'"
            )

    def set_geometry(
        self, sample_aspect_ratio: Fraction | None, display_matrix: list[int] | None
    ) -> None:
        """Set the pixel aspect ratio and the matrix that turns frames for display."""
        self.sample_aspect_ratio = sample_aspect_ratio or None
        self.display_matrix = display_matrix
        if sample_aspect_ratio:
            self.stream.codec_context.sample_aspect_ratio = sample_aspect_ratio
        if display_matrix is not None:
            self.stream.set_display_matrix(display_matrix)

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
            raise self.failed(err) from err

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
            raise self.failed(err) from err

    def close(self) -> None:
        """Flush the encoders, close the file and check what it holds.

        Raises
        ------
        VideoError
            The disk is full, or the file does not hold what was written.
        """
        try:
            self._mux(None)
            if self.passthrough is not None:
                is_mxf = self.container.format.name.startswith("mxf")
                self.passthrough.flush(self._stop_s if is_mxf else 0.0)
            self.container.close()
            if self._sink is None and self.sample_aspect_ratio and self._has_no_ratio:
                set_pixel_aspect_ratio(self.path, self.sample_aspect_ratio)
            found = inspect_video(
                self.path if self._sink is None else self._sink,
                with_matrix=self.display_matrix is not None,
            )
        except (av.error.FFmpegError, OSError, ValueError) as err:
            raise self.failed(err) from err
        if self._sink is not None and found.frames:
            return  # a probe in MXF has fewer frames: its few are cut to the length of the audio
        if found.frames != self.written:
            raise VideoError(
                f"{self.written} frames were written but the file has {found.frames}; is the disk "
                "full?"
            )
        self._note_losses(found)

    def _note_losses(self, found: VideoProperties) -> None:
        lost_s = abs(found.shown_s - self.duration_s)
        if lost_s > max(0.25, float(3 / self.rate)):
            self.notes.append(
                f"players will show {found.shown_s:.2f} s, not the {self.duration_s:.2f} s that "
                f"were written: {self.path.suffix} cannot hold these time stamps"
            )
        expected = self.sample_aspect_ratio or 1
        if abs(float(found.sample_aspect_ratio / expected) - 1) > 0.005:
            self.notes.append(
                f"pixels of {expected.numerator}:{expected.denominator} are shown as "
                f"{found.sample_aspect_ratio.numerator}:{found.sample_aspect_ratio.denominator}: "
                f"{self.path.suffix} with this codec cannot hold the pixel aspect ratio"
            )
        if self.display_matrix is not None and found.display_matrix != self.display_matrix:
            self.notes.append(
                f"the rotation was lost: {self.path.suffix} cannot hold it (.mp4 and .mkv can)"
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
    def _stop_s(self) -> float:
        return float(self._last_pts * self.time_base + 1 / self.rate)

    @property
    def duration_s(self) -> float:
        """Seconds from the start of the first frame to the end of the last, at the mean rate."""
        span = (self._last_pts - self._first_pts) * self.time_base
        return float(span + 1 / self.rate) if self.written else 0.0

    def _mux(self, frame: Any) -> None:
        try:
            self.container.mux(self.stream.encode(frame))
        except (av.error.FFmpegError, OSError, ValueError) as err:
            raise self.failed(err) from err

    def failed(self, err: BaseException) -> VideoError:
        """Return an error that suggests a cause."""
        return VideoError(
            f"cannot write the video as {self.path.suffix} ({error_text(err)}); is the disk full?"
        )


class _NamedSink:
    """A binary file with the name from which PyAV takes the container's format."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.name = name
        self.write, self.seek, self.tell = file.write, file.seek, file.tell
        self.seekable = file.seekable
