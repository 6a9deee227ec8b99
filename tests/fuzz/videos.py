"""Tiny videos of several kinds as seeds of mutations, and the code that reads them."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from colorcv.video import api

__all__ = ["corpus", "run_video"]

_KINDS = (("MJPG", ".avi"), ("FFV1", ".avi"), ("mp4v", ".mp4"), ("VP80", ".mkv"))


class FakeColorizer:
    """A colorizer without a network: every pixel gets the same red."""

    input_hw = (64, 64)

    def predict_ab(self, lightness: np.ndarray) -> np.ndarray:
        return np.full((16, 16, 2), 30, np.float32)

    def colorize(
        self, frame: np.ndarray, *, saturation: float = 1.0, ignore_border: object = "auto"
    ) -> np.ndarray:
        return frame if frame.ndim == 3 else np.dstack([frame] * 3)


@cache
def corpus() -> tuple[bytes, ...]:
    """Return videos of twelve frames, with audio if PyAV is installed to write it."""
    noise = np.random.default_rng(0).integers(0, 256, (76, 108, 3), np.uint8)
    noise = cv2.GaussianBlur(noise, (0, 0), 4)
    frames = [np.ascontiguousarray(noise[i : i + 64, i : i + 96]) for i in range(12)]
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for code, suffix in _KINDS:
            path = Path(folder, code + suffix)
            writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), 10, (96, 64))
            for frame in frames:
                writer.write(frame)
            writer.release()
            found.append(path.read_bytes())
        if api.has_pyav():
            found += [
                _with_audio(Path(folder, f"av{suffix}"), frames) for suffix in (".mp4", ".ts")
            ]
    return tuple(found)


def _with_audio(path: Path, frames: list[np.ndarray]) -> bytes:
    import av

    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=10)
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        audio = container.add_stream("aac", rate=16000, layout="mono")
        for index, frame in enumerate(frames):
            container.mux(video.encode(av.VideoFrame.from_ndarray(frame, "bgr24")))
            piece = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            piece.sample_rate, piece.pts = 16000, 1024 * index
            container.mux(audio.encode(piece))
        for stream in (video, audio):
            container.mux(stream.encode(None))
    return path.read_bytes()


def run_video(path: Path) -> None:
    """Colour or preview a video; check that a failure leaves no files behind."""
    output = path.with_name("colored.mp4")
    output.unlink(missing_ok=True)
    before = set(path.parent.iterdir())
    try:
        if path.stat().st_size % 4:
            result = api.colorize_video(path, output, colorizer=FakeColorizer())
            assert result.path == output
            assert output.stat().st_size
        else:
            assert list(api.preview(path, 3, colorizer=FakeColorizer()))
    finally:
        assert set(path.parent.iterdir()) <= before | {output}
