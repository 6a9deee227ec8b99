"""Writing films through PyAV: the coloured frames, and the other streams packet by packet."""

from __future__ import annotations

import logging
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from ...errors import OptionError, VideoError
from .passthrough import Sound
from .planes import JPEG_RANGE, MPEG_RANGE, plain
from .reader import PyAVReader

__all__ = ["CODECS", "PyAVWriter"]

log = logging.getLogger("colorcv")

# codec: encoder, usual quality (CRF, None where there is none), highest CRF, its settings.
# The quality keeps luma at 44 dB or better on the developers' clips (tests/video/test_video.py).
CODECS: dict[str, tuple[str, int | None, int, dict[str, str]]] = {
    "h264": ("libx264", 17, 51, {"preset": "veryfast"}),
    "hevc": ("libx265", 17, 51, {"preset": "veryfast", "x265-params": "log-level=error"}),
    "vp9": ("libvpx-vp9", 16, 63, {"deadline": "good", "cpu-used": "5", "row-mt": "1", "b": "0"}),
    "av1": ("libsvtav1", 18, 63, {"preset": "9"}),
    "ffv1": ("ffv1", None, 0, {}),
}


def encoder_for(codec: str, quality: int | None, suffix: str) -> tuple[str, str, dict[str, str]]:
    """Return codec, encoder and its options for what was asked.

    Raises
    ------
    OptionError
        Unknown codec, or a quality that it does not take.
    VideoError
        This PyAV was built without the encoder.
    """
    if codec == "auto":
        codec = "vp9" if suffix.lower() == ".webm" else "h264"
    if codec not in CODECS:
        raise OptionError(f"codec {codec!r} is none of auto, {', '.join(CODECS)}")
    encoder, usual, highest, settings = CODECS[codec]
    options = dict(settings)
    if quality is not None:
        if usual is None:
            raise OptionError(f"{codec} is lossless and takes no quality, not {quality}")
        if not 0 <= quality <= highest:
            raise OptionError(f"quality of {codec} is 0 (best) to {highest}, not {quality}")
    if usual is not None:
        options["crf"] = str(usual if quality is None else quality)
    if encoder not in av.codecs_available:
        raise VideoError(f"this PyAV has no {encoder}: choose another codec, or install a wheel")
    return codec, encoder, options


# Time stamps stay what they are, and a film in MP4 starts before it is fully loaded.
MUXER_OPTIONS = {
    **dict.fromkeys((".mp4", ".m4v", ".mov"), ("movflags", "+faststart")),
    **dict.fromkeys((".mkv", ".webm"), ("avoid_negative_ts", "disabled")),
    **dict.fromkeys((".ts", ".m2ts", ".mts"), ("mpegts_copyts", "1")),
}
# Containers that store no time of showing: no frame may be shown in another order than decoded.
WITHOUT_REORDERING = {".avi", ".ts", ".m2ts", ".mts", ".flv"}


class PyAVWriter:
    """Encode frames into a new file, and take the other streams of the source along.

    Parameters
    ----------
    path : Path
        The file to write; its suffix says which container.
    size_wh : (int, int)
        Even columns and rows.
    rate, time_base : Fraction
        Frames per second, and the unit of the frames' time stamps.
    bits : int
        8 or 10: what the source has; 10 stays 10 where the codec can.
    """

    def __init__(
        self,
        path: Path,
        size_wh: tuple[int, int],
        rate: Fraction,
        time_base: Fraction,
        bits: int,
        *,
        codec: str,
        quality: int | None,
    ) -> None:
        self.path = path
        self.notes: list[str] = []
        self.written = 0
        self.last_pts = self.first_pts = 0
        self.sound: Sound | None = None
        codec, encoder, options = encoder_for(codec, quality, path.suffix)
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
                f"a film cannot be written as {path.suffix}: {plain(err)}; "
                "choose .mp4, .mkv or .webm for the output"
            ) from err
        try:
            stream: Any = self.container.add_stream(encoder, rate=rate, options=options)
        except ValueError as err:
            self.abandon()
            raise VideoError(
                f"{path.suffix} does not take {codec}: choose .mp4 or .mkv for the output"
            ) from err
        if suffix in WITHOUT_REORDERING:
            stream.max_b_frames = 0
        stream.width, stream.height = size_wh
        stream.pix_fmt = self.pixel_format
        stream.codec_context.time_base = stream.time_base = time_base
        if codec == "hevc" and "movflags" in muxer:
            stream.codec_context.codec_tag = "hvc1"  # the one that Apple's players take
        self.stream = stream
        self._rate, self._time_base = rate, time_base

    def dress(self, reader: PyAVReader) -> None:
        """Give the stream what its source's has: shape of pixels, rotation, tags, metadata."""
        context = self.stream.codec_context
        if reader.sample_aspect_ratio:
            context.sample_aspect_ratio = reader.sample_aspect_ratio
        self.tag(reader.matrix, reader.full_range, reader.primaries, reader.transfer)
        if reader.display_matrix is not None:
            self.stream.set_display_matrix(reader.display_matrix)
        kept = {"title", "artist", "comment", "date", "copyright", "description", "genre", "album"}
        source = reader.container
        self.container.metadata.update(
            {key: text for key, text in source.metadata.items() if key.lower() in kept}
        )
        if "language" in reader.stream.metadata:
            self.stream.metadata["language"] = reader.stream.metadata["language"]
        if not reader.is_part and source.chapters():
            self.container.set_chapters(source.chapters())

    def tag(self, matrix: int, full_range: bool, primaries: int = 2, transfer: int = 2) -> None:
        """Say in the stream how its colours are meant; what the source does not say is BT.709."""
        context = self.stream.codec_context
        context.colorspace = matrix
        context.color_range = JPEG_RANGE if full_range else MPEG_RANGE
        context.color_primaries = primaries if primaries not in (0, 2) else 1
        context.color_trc = transfer if transfer not in (0, 2) else 1

    def start(self) -> None:
        """Write the header: what the container does not take comes out here, before any work."""
        try:
            self.container.start_encoding()
        except (av.error.FFmpegError, ValueError, OSError) as err:
            raise self._failed(err) from err

    def write(self, frame: Any) -> None:
        """Encode one frame."""
        if not self.written:
            self.first_pts = frame.pts
        self.last_pts = frame.pts
        self.written += 1
        self._mux(frame)

    def copy(self, packet: Any) -> None:
        """Take over a packet of another stream."""
        try:
            if self.sound is not None:
                self.sound.take(packet)
        except (av.error.FFmpegError, OSError) as err:
            raise self._failed(err) from err

    def finish(self) -> None:
        """Write what the encoders still hold, close the file, and count its frames.

        Raises
        ------
        VideoError
            The disk is full, or the file does not hold what was written.
        """
        try:
            self._mux(None)
            if self.sound is not None:
                self.sound.finish()
            self.container.close()
            counted = count_packets(self.path)
        except (av.error.FFmpegError, OSError, ValueError) as err:
            raise self._failed(err) from err
        if counted != self.written:
            raise VideoError(
                f"{self.written} frames were written but the file has {counted}: is the disk full?"
            )

    def abandon(self) -> None:
        """Close the file without caring for what is in it."""
        try:
            self.container.close()
        except Exception as err:  # whatever it is, the file is thrown away
            log.debug("closing an abandoned film: %s", err)

    @property
    def damaged(self) -> int:
        """How many packets of sound and subtitles were skipped."""
        return 0 if self.sound is None else self.sound.damaged

    @property
    def duration_s(self) -> float:
        """From the first frame's beginning to the last one's end, at the usual rate."""
        span = (self.last_pts - self.first_pts) * self._time_base
        return float(span + 1 / self._rate) if self.written else 0.0

    def _mux(self, frame: Any) -> None:
        try:
            self.container.mux(self.stream.encode(frame))
        except (av.error.FFmpegError, OSError, ValueError) as err:
            raise self._failed(err) from err

    def _failed(self, err: BaseException) -> VideoError:
        return VideoError(
            f"the film cannot be written: {plain(err)}; is there room on the disk, and does "
            f"{self.path.suffix} take these streams? (.mkv takes nearly all)"
        )


def count_packets(path: Path) -> int:
    """How many frames a film's first video stream has, as its packets say."""
    with av.open(f"file:{path}") as container:
        return sum(1 for packet in container.demux(video=0) if packet.size)


def _pixel_format(encoder: str, bits: int) -> str:
    formats = {f.name for f in av.codec.Codec(encoder, "w").video_formats or ()}
    return "yuv420p10le" if bits > 8 and "yuv420p10le" in formats else "yuv420p"
