"""Small videos written with PyAV, and the contents of video files, read independently."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from tests.helpers.films import texture


def luma_frames(count: int, hw: tuple[int, int], seed: int = 0, bits: int = 8) -> list[Any]:
    """Return luma planes of a slow pan, limited range, uint8 or uint16."""
    height, width = hw
    wide = texture(seed, (height, width + count), 1, detail=8)[..., 0]
    wide = np.clip(125 + 40 * wide, 16, 235) * (1 << (bits - 8))
    planes = [wide[:, i : i + width] for i in range(count)]
    return [np.rint(plane).astype(np.uint8 if bits == 8 else "<u2") for plane in planes]


def fill(frame: Any, luma: Any, bits: int) -> None:
    """Write luma and neutral chroma into a frame of any planar or grey format."""
    dtype = np.dtype(np.uint8 if bits == 8 else "<u2")
    for index, plane in enumerate(frame.planes):
        lines = np.frombuffer(plane, dtype).reshape(-1, plane.line_size // dtype.itemsize)
        lines[:] = 128 << (bits - 8)
        if index == 0:
            lines[: luma.shape[0], : luma.shape[1]] = luma


def make_clip(
    path: Path,
    *,
    frames: int = 20,
    size_wh: tuple[int, int] = (96, 64),
    rate: int = 24,
    pts: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    matrix: int = 2,
    color_range: int = 0,
    transfer: int = 2,
    primaries: int = 2,
    rotation: int | None = None,
    sample_aspect_ratio: Fraction | None = None,
    audio: Sequence[str] = (),
    subtitles: bool = False,
    luma: list[Any] | None = None,
    second_video: bool = False,
    options: dict[str, str] | None = None,
    start_s: float = 0.0,
    container_format: str | None = None,
    display_matrix: list[int] | None = None,
) -> list[Any]:
    """Write a grey video and return its luma planes before encoding."""
    width, height = size_wh
    bits = max(c.bits for c in av.VideoFormat(pix_fmt).components)
    luma = luma or luma_frames(frames, (height, width), bits=bits)
    muxer = {"mpegts_copyts": "1"} if path.suffix == ".ts" else {}
    with av.open(str(path), "w", container_format, container_options=muxer) as container:
        if second_video:  # a smaller one, first in the file
            small: Any = container.add_stream("libx264", rate=rate, options={"crf": "30"})
            small.width, small.height, small.pix_fmt = 32, 32, "yuv420p"
        defaults = {"crf": "8", "preset": "ultrafast"} if codec == "libx264" else {}
        stream: Any = container.add_stream(codec, rate=rate, options=options or defaults)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        context = stream.codec_context
        context.time_base = stream.time_base = time_base or Fraction(1, rate)
        if matrix != 2:
            context.colorspace = matrix
        context.color_range = color_range
        context.color_trc, context.color_primaries = transfer, primaries
        if sample_aspect_ratio:
            context.sample_aspect_ratio = sample_aspect_ratio
        if display_matrix is not None:
            stream.set_display_matrix(display_matrix)
        if rotation is not None:
            stream.set_display_rotation(rotation)
        audio_streams = [_add_audio(container, name, index) for index, name in enumerate(audio)]
        words = _srt(path) if subtitles else None
        copy = container.add_stream_from_template(words.streams[0]) if words else None
        for audio_stream, index in zip(audio_streams, range(len(audio_streams)), strict=True):
            _encode_audio(container, audio_stream, start_s, len(luma) / rate, 220 * (index + 1))
        for packet in words.demux() if words else ():
            if packet.size:
                packet.stream = copy
                container.mux(packet)
        for index, plane in enumerate(luma):
            frame = av.VideoFrame(width, height, pix_fmt)
            fill(frame, plane, bits)
            frame.pts = pts[index] if pts is not None else index + round(start_s * rate)
            frame.time_base = context.time_base
            frame.color_range, frame.colorspace = color_range, matrix
            frame.color_trc, frame.color_primaries = transfer, primaries
            container.mux(stream.encode(frame))
            if second_video:
                tiny = av.VideoFrame(32, 32, "yuv420p")
                fill(tiny, np.full((32, 32), 60, np.uint8), 8)
                tiny.pts, tiny.time_base = index, Fraction(1, rate)
                container.mux(small.encode(tiny))
        container.mux(stream.encode(None))
        if second_video:
            container.mux(small.encode(None))
    return luma


def _add_audio(container: Any, codec: str, index: int) -> Any:
    stream = container.add_stream(codec, rate=48000)
    stream.layout = "stereo" if index else "mono"
    if (
        codec == "mp2"
    ):  # whose default, 384 kb/s, is not allowed for one channel: browsers refuse it
        stream.bit_rate = 128_000
    stream.metadata["language"] = ("deu", "eng")[index]
    return stream


def _encode_audio(
    container: Any, stream: Any, start_s: float, seconds: float, pitch: float
) -> None:
    total = int(seconds * 48000)
    for start in range(0, total, 960):
        times = (start + np.arange(min(960, total - start))) / 48000
        tone = (8000 * np.sin(2 * np.pi * pitch * times)).astype(np.int16)
        channels = stream.layout.nb_channels
        block = np.repeat(tone[None], channels, axis=0).T.reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(block), format="s16", layout=stream.layout.name
        )
        frame.sample_rate, frame.time_base = 48000, Fraction(1, 48000)
        frame.pts = start + round(start_s * 48000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _srt(beside: Path) -> Any:
    text = "1\n00:00:00,000 --> 00:00:00,200\none\n\n2\n00:00:00,300 --> 00:00:00,500\ntwo\n"
    path = beside.with_suffix(".srt")
    path.write_text(text)
    return av.open(str(path))


@dataclass
class Contents:
    """The contents of a video file, as read by PyAV and compared by the tests."""

    video_times: list[Fraction]
    luma: list[Any]
    audio: list[list[tuple[Fraction, str]]]  # of each track: time and hash of each packet
    subtitles: list[list[bytes]]
    size_wh: tuple[int, int]
    pixel_format: str
    codec: str
    matrix: int
    color_range: int
    rotation: int
    sample_aspect_ratio: Fraction | None
    languages: list[str | None] = field(default_factory=list)
    bgr: list[Any] = field(default_factory=list)
    planes: list[Any] = field(default_factory=list)


def contents(path: Path) -> Contents:
    """Read everything in a small video."""
    audio: dict[int, list[tuple[Fraction, str]]] = {}
    words: dict[int, list[bytes]] = {}
    with av.open(str(path)) as container:
        for packet in container.demux():
            if packet.size and packet.stream.type == "audio":
                assert packet.pts is not None
                found = packet.pts * Fraction(packet.time_base), _hash(bytes(packet))
                audio.setdefault(packet.stream.index, []).append(found)
            elif packet.size and packet.stream.type == "subtitle":
                words.setdefault(packet.stream.index, []).append(bytes(packet))
        languages = [s.language for s in container.streams.audio]
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        first = frames[0]
        return Contents(
            video_times=[Fraction(f.pts) * Fraction(f.time_base) for f in frames],
            luma=[planes_of(f)[0] for f in frames],
            audio=[audio[key] for key in sorted(audio)],
            subtitles=[words[key] for key in sorted(words)],
            size_wh=(first.width, first.height),
            pixel_format=first.format.name,
            codec=stream.codec_context.name,
            matrix=int(first.colorspace),
            color_range=int(first.color_range),
            rotation=int(first.rotation),
            sample_aspect_ratio=stream.sample_aspect_ratio,
            languages=languages,
            planes=[planes_of(f) for f in frames],
        )


def planes_of(frame: Any) -> list[Any]:
    """Return copies of a frame's planes without padding."""
    bits = frame.format.components[0].bits
    dtype = np.dtype(np.uint8 if bits == 8 else "<u2")
    views = []
    for plane in frame.planes:
        lines = np.frombuffer(plane, dtype).reshape(-1, plane.line_size // dtype.itemsize)
        views.append(lines[: plane.height, : plane.width].copy())
    return views


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
