"""Audio is copied if the container can hold it, else re-encoded, else left out with a note."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

av = pytest.importorskip("av")

from colorcv import VideoError  # noqa: E402
from colorcv.video.api import VideoResult, colorize_video  # noqa: E402
from tests.helpers.clips import contents, make_clip  # noqa: E402
from tests.helpers.films import FakeColorizer  # noqa: E402


@pytest.fixture
def color(tmp_path: Path) -> Callable[..., VideoResult]:
    def run(source: str, output: str, **options: Any) -> VideoResult:
        options.setdefault("colorizer", FakeColorizer())
        return colorize_video(tmp_path / source, tmp_path / output, **options)

    return run


def tone(path: Path) -> tuple[float, float]:
    """Return the length in seconds and the pitch in Hz of the first audio track."""
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=0))
    rate = frames[0].sample_rate
    blocks = []
    for frame in frames:
        block = frame.to_ndarray()
        channels = frame.layout.nb_channels
        blocks.append(block[0] if frame.format.is_planar else block.reshape(-1, channels)[:, 0])
    wave = np.concatenate(blocks)
    middle = wave[len(wave) // 4 : -len(wave) // 4].astype(float)
    crossings = int(np.sum(np.diff(np.signbit(middle - middle.mean()))))
    return len(wave) / rate, crossings / 2 / (len(middle) / rate)


# Codecs that MP4 does not hold, with a container of their own and the rate to record at.
REFUSED = {
    "WMA": ("wmav2", ".avi", 48000),
    "ADPCM": ("adpcm_ms", ".avi", 48000),
    "mu-law": ("pcm_mulaw", ".avi", 8000),
    "8-bit PCM": ("pcm_u8", ".avi", 11025),
    "PCM without names of channels": ("pcm_s16le", ".avi", 48000),
    "Speex": ("libspeex", ".mkv", 16000),
    "TrueHD": ("truehd", ".mkv", 48000),
    "192 kHz, which AAC does not have": ("pcm_u8", ".avi", 192000),
}


def record(path: Path, codec: str, rate: int, frames: int = 50) -> None:
    """Write video of 25 frames a second with 2 s of a tone of 220 Hz on two channels."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("mjpeg", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuvj420p"
        audio = container.add_stream(codec, rate=rate)
        audio.layout = "stereo"
        audio.bit_rate = 64_000
        total = 2 * rate
        times = np.arange(total) / rate
        wave = (8000 * np.sin(2 * np.pi * 220 * times)).astype(np.int16)
        for index in range(frames):
            frame = av.VideoFrame(64, 48, "yuvj420p")
            for plane in frame.planes:
                plane.update(bytes([100]) * plane.buffer_size)
            frame.pts = index
            container.mux(video.encode(frame))
        for start in range(0, total, 1000):
            block = np.repeat(wave[start : start + 1000], 2).reshape(1, -1)
            sound = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), "s16", "stereo")
            sound.sample_rate, sound.pts = rate, start
            container.mux(audio.encode(sound))
        for stream in (video, audio):
            container.mux(stream.encode(None))


def record_with_ffmpeg(path: Path, codec: str, rate: int) -> None:
    subprocess.run(
        ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "color=gray:s=64x48:r=25:d=2",
         "-f", "lavfi", "-i", f"sine=220:d=2:r={rate}", "-c:v", "mjpeg", "-c:a", codec,
         "-ac", "2", "-strict", "experimental", path],
        check=True,
    )  # fmt: skip


@pytest.mark.parametrize(("codec", "suffix", "rate"), REFUSED.values(), ids=REFUSED)
def test_refused_audio_is_re_encoded(
    tmp_path: Path, color: Callable[..., VideoResult], codec: str, suffix: str, rate: int
) -> None:
    try:
        av.Codec(codec, "w")
    except ValueError:
        if shutil.which("ffmpeg") is None:
            pytest.skip(f"neither this PyAV nor an ffmpeg program writes {codec}")
        record_with_ffmpeg(tmp_path / f"a{suffix}", codec, rate)
    else:
        record(tmp_path / f"a{suffix}", codec, rate)
    result = color(f"a{suffix}", "out.mp4", audio="keep")
    assert result.audio == "encoded"
    assert codec.removeprefix("lib") in result.audio_reason
    assert "aac" in result.audio_reason
    length_s, pitch = tone(result.path)
    assert length_s == pytest.approx(2, abs=0.15)
    assert pitch == pytest.approx(220, rel=0.03)
    assert result.frames == 50


@pytest.mark.parametrize("codec", ["pcm_s16le", "pcm_u8"])
def test_mxf_is_not_cut_to_the_length_of_its_audio(
    tmp_path: Path, color: Callable[..., VideoResult], codec: str
) -> None:
    record(tmp_path / "a.avi", codec, 48000, frames=80)  # 3.2 s of video, 2 s of audio
    result = color("a.avi", "out.mxf")
    assert result.frames == len(contents(result.path).luma) == 80
    assert result.audio == ("copied" if codec == "pcm_s16le" else "encoded")
    with av.open(str(result.path)) as container:
        waves = [frame.to_ndarray().reshape(-1, 2)[:, 0] for frame in container.decode(audio=0)]
    wave = np.concatenate(waves)
    assert len(wave) / 48000 == pytest.approx(3.2, abs=0.05)
    assert np.abs(wave[: 2 * 48000].astype(int)).max() > 5000
    assert np.abs(wave[2 * 48000 + 2000 :].astype(int)).max() < 300


CUSTOM_LAYOUT = """
import sys
from pathlib import Path
from colorcv.video.api import colorize_video
from tests.helpers.films import FakeColorizer
for target in sys.argv[2:]:
    result = colorize_video(sys.argv[1], target, colorizer=FakeColorizer(), overwrite=True)
    print(result.audio, result.frames, flush=True)
"""


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="the ffmpeg program makes the clip")
def test_eight_channels_in_an_order_without_a_name(tmp_path: Path) -> None:
    """PyAV 18 frees such a layout twice when it is read: the process crashed."""
    source = tmp_path / "a.mov"
    channels = "|".join(f"c{i}=c0" for i in range(8))
    subprocess.run(
        ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "color=gray:s=64x48:r=25:d=0.4",
         "-f", "lavfi", "-i", "sine=440:d=0.4:r=48000", "-filter_complex",
         f"[1]pan=8c|{channels}[a]", "-map", "0:v", "-map", "[a]",
         "-c:v", "libx264", "-c:a", "pcm_s16le", source],
        check=True,
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", CUSTOM_LAYOUT, source, *(tmp_path / n for n in ("a.mkv", "b.webm"))],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["copied 10", "dropped 10"]


class Untouched(FakeColorizer):
    """A colorizer that must not be called."""

    def predict_ab(self, lightness: Any) -> Any:
        raise AssertionError("a frame was coloured")


def test_keep_fails_before_the_first_frame(
    tmp_path: Path, color: Callable[..., VideoResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    from colorcv.video.pyav import passthrough

    make_clip(tmp_path / "a.mkv", audio=["aac"])
    monkeypatch.setattr(passthrough, "_is_named", lambda layout: False)  # cannot be re-encoded
    with pytest.raises(VideoError, match=r"cannot keep the audio: webm cannot hold aac .*\.mkv"):
        color("a.mkv", "out.webm", audio="keep", colorizer=Untouched())
    result = color("a.mkv", "out.webm")
    assert result.audio == "dropped"
    assert contents(result.path).audio == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mkv", "out.webm"]


@pytest.mark.parametrize(("codec", "suffix"), [("vp9", ".mxf"), ("av1", ".ts"), ("vp9", ".ts")])
def test_a_container_that_fails_does_so_before_the_first_frame(
    tmp_path: Path, color: Callable[..., VideoResult], codec: str, suffix: str
) -> None:
    make_clip(tmp_path / "a.mkv")
    with pytest.raises(VideoError, match=rf"\{suffix} cannot hold {codec}"):
        color("a.mkv", f"out{suffix}", codec=codec, colorizer=Untouched())
    assert [path.name for path in tmp_path.iterdir()] == ["a.mkv"]


def test_damaged_packets_are_said(tmp_path: Path, color: Callable[..., VideoResult]) -> None:
    make_clip(tmp_path / "a.mov", codec="png", pix_fmt="gray", options={})
    data = bytearray((tmp_path / "a.mov").read_bytes())
    at = data.index(b"IHDR", data.index(b"IHDR") + 1)
    data[at : at + 30] = bytes(30)
    (tmp_path / "a.mov").write_bytes(data)
    result = color("a.mov", "out.mkv")
    assert result.damaged_packets == 1
    assert "1 damaged packet(s) were skipped" in result.notes


def test_fonts_of_subtitles_are_kept_in_mkv(
    tmp_path: Path, color: Callable[..., VideoResult]
) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.add_attachment("font.ttf", "application/x-truetype-font", b"the font's bytes")
        for index in range(5):
            frame = av.VideoFrame(64, 48, "yuv420p")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    result = color("a.mkv", "out.mkv")
    with av.open(str(result.path)) as container:
        (font,) = container.streams.attachments
        assert (font.name, font.mimetype, font.data) == (
            "font.ttf", "application/x-truetype-font", b"the font's bytes"
        )  # fmt: skip
    assert result.notes == ()
    assert any("1 attachment(s)" in note for note in color("a.mkv", "out.mp4").notes)
