"""Videos through OpenCV alone; the ffmpeg program, if there is one, adds the audio."""

from __future__ import annotations

import json
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from colorcv import OptionError, VideoError
from colorcv.video.api import VideoResult, colorize_video
from colorcv.video.opencv.writer import OpenCVWriter
from tests.helpers.cv_clips import Capture, count_frames, grey_frames, opencv_clip
from tests.helpers.films import FakeColorizer

# A fake ffmpeg: records its arguments, then follows the instructions in the file beside it.
FFMPEG = """#!{python}
import json, pathlib, shutil, sys
if "framecrc" in sys.argv or "null" in sys.argv:  # questions about the source
    sys.exit(1)
here = pathlib.Path(__file__).parent
calls = here / "calls.json"
done = json.loads(calls.read_text()) if calls.exists() else []
calls.write_text(json.dumps([*done, sys.argv[1:]]))
answer = json.loads((here / "answer.json").read_text())
if answer["fails"] > len(done):
    sys.exit(answer["says"])
inputs = [sys.argv[i + 1] for i, word in enumerate(sys.argv) if word == "-i"]
shutil.copy(inputs[0].removeprefix("file:"), sys.argv[-1].removeprefix("file:"))
"""


@pytest.fixture(autouse=True)
def _without_pyav(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


@pytest.fixture
def ffmpeg(tmp_path: Path) -> Callable[..., Callable[[], list[list[str]]]]:
    """Put a fake ffmpeg on PATH; the returned function returns its calls so far."""

    def install(fails: int = 0, says: str = "") -> Callable[[], list[list[str]]]:
        folder = tmp_path / "bin"
        program = folder / "ffmpeg"
        program.write_text(FFMPEG.format(python=sys.executable))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        (folder / "answer.json").write_text(json.dumps({"fails": fails, "says": says}))
        return lambda: json.loads((folder / "calls.json").read_text())

    return install


@pytest.fixture
def color(tmp_path: Path) -> Callable[..., VideoResult]:
    def run(source: str, output: str | None = None, **options: Any) -> VideoResult:
        options.setdefault("colorizer", FakeColorizer())
        where = None if output is None else tmp_path / output
        return colorize_video(tmp_path / source, where, **options)

    return run


def files(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.name != "bin")


def read(path: Path) -> Iterator[Any]:
    capture = cv2.VideoCapture(str(path))
    while True:
        ok, frame = capture.read()
        if not ok:
            return
        yield frame


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
def test_frames_and_lightness(
    tmp_path: Path, color: Callable[..., VideoResult], suffix: str
) -> None:
    made = opencv_clip(tmp_path / "film.avi", 20)
    result = color("film.avi", f"out{suffix}")
    assert result.frames == count_frames(result.path) == 20
    assert (result.fps, result.size_wh) == (24.0, (64, 48))
    assert result.network_runs == 4
    for frame, grey in zip(read(result.path), made, strict=True):
        lab = cv2.cvtColor(frame, cv2.COLOR_BGR2LAB).astype(int)
        assert np.abs(lab[..., 0] - cv2.cvtColor(grey, cv2.COLOR_BGR2LAB)[..., 0]).mean() < 6
        assert np.abs(lab[..., 1:] - 128).mean() > 3
    assert files(tmp_path) == ["film.avi", f"out{suffix}"]


def test_lossless_equals_colorize(tmp_path: Path, color: Callable[..., VideoResult]) -> None:
    opencv_clip(tmp_path / "film.avi", 5)
    network = FakeColorizer()
    result = color("film.avi", "out.avi", codec="ffv1", keyframe_interval=1, smooth=False)
    for mine, frame in zip(read(result.path), read(tmp_path / "film.avi"), strict=True):
        off = mine.astype(int) - network.colorize(frame)
        assert np.abs(off).mean() < 2.5  # FFV1 stores 4:2:0


def test_lost_audio_is_reported_without_ffmpeg(
    tmp_path: Path, color: Callable[..., VideoResult], caplog: pytest.LogCaptureFixture
) -> None:
    opencv_clip(tmp_path / "film.avi")
    result = color("film.avi")
    assert result.audio == "dropped"
    assert "ffmpeg" in result.audio_reason
    assert "PyAV" in result.audio_reason
    assert any("no audio" in record.message for record in caplog.records)
    with pytest.raises(VideoError, match=r"cannot keep the audio: .*PyAV .* or ffmpeg"):
        color("film.avi", "kept.avi", audio="keep")
    assert files(tmp_path) == ["film.avi", "film.color.avi"]


def test_ffmpeg_adds_the_audio(
    tmp_path: Path, color: Callable[..., VideoResult], ffmpeg: Callable[..., Any]
) -> None:
    opencv_clip(tmp_path / "film.avi", 48)
    calls = ffmpeg()
    result = color("film.avi", "out.mp4", start=0.5, end=1.5)
    assert result.audio == "copied"
    assert result.frames == count_frames(result.path) == 24
    (call,) = calls()
    assert call[call.index("-ss") + 1] == "0.500000"
    assert call[call.index("-to") + 1] == "1.500000"
    assert f"file:{tmp_path / 'film.avi'}" in call
    assert files(tmp_path) == ["film.avi", "out.mp4"]


def test_refused_audio_is_re_encoded(
    tmp_path: Path, color: Callable[..., VideoResult], ffmpeg: Callable[..., Any]
) -> None:
    opencv_clip(tmp_path / "film.avi")
    calls = ffmpeg(fails=1, says="codec not supported in container")
    assert color("film.avi", "out.mp4").audio == "encoded"
    assert [call[call.index("-c:a") + 1] for call in calls()] == ["copy", "aac"]


def test_source_without_audio(
    tmp_path: Path, color: Callable[..., VideoResult], ffmpeg: Callable[..., Any]
) -> None:
    opencv_clip(tmp_path / "film.avi")
    ffmpeg(fails=9, says="Stream map '1:a' matches no streams.")
    result = color("film.avi", audio="keep")
    assert (result.audio, result.audio_reason) == ("none", "the source has no audio")


def test_ffmpeg_that_fails(
    tmp_path: Path, color: Callable[..., VideoResult], ffmpeg: Callable[..., Any]
) -> None:
    opencv_clip(tmp_path / "film.avi")
    ffmpeg(fails=9, says="something broke")
    result = color("film.avi")
    assert result.audio == "dropped"
    assert "something broke" in result.audio_reason
    assert result.frames == count_frames(result.path)
    with pytest.raises(VideoError, match="something broke"):
        color("film.avi", "kept.avi", audio="keep")
    assert files(tmp_path) == ["film.avi", "film.color.avi"]


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg on PATH")
def test_real_ffmpeg(
    tmp_path: Path,
    color: Callable[..., VideoResult],
    monkeypatch: pytest.MonkeyPatch,
    shared: Path,
) -> None:
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "av", None)
    film = shared / "clips" / "bbb480p_cuts_audio.mp4"
    result = colorize_video(film, tmp_path / "out.mp4", colorizer=FakeColorizer(), end=2)
    assert (result.audio, result.frames) == ("copied", 48)
    assert count_frames(result.path) == 48


def test_audio_none(tmp_path: Path, color: Callable[..., VideoResult]) -> None:
    opencv_clip(tmp_path / "film.avi")
    result = color("film.avi", audio="none")
    assert (result.audio, result.audio_reason) == ("none", "left out as asked")


def test_odd_size_is_padded_and_reported(tmp_path: Path, color: Callable[..., VideoResult]) -> None:
    capture = Capture(grey_frames(6, (47, 63)))
    result = colorize_video(capture, tmp_path / "out.avi", colorizer=FakeColorizer())
    assert result.size_wh == (64, 48)
    assert any("63x47 is odd" in note for note in result.notes)
    assert next(read(result.path)).shape == (48, 64, 3)


def test_variable_rate_is_reported(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.08, 0.5, 0.54, 0.58]
    capture = Capture(grey_frames(6), times)
    result = colorize_video(capture, tmp_path / "out.avi", colorizer=FakeColorizer())
    assert result.frames == 6
    assert any("varies" in note for note in result.notes)


def test_closed_capture(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="cannot open"):
        colorize_video(cv2.VideoCapture(), tmp_path / "out.avi", colorizer=FakeColorizer())
    assert files(tmp_path) == []


def test_part_of_a_capture(tmp_path: Path) -> None:
    capture = Capture(grey_frames(48))
    result = colorize_video(capture, tmp_path / "out.avi", colorizer=FakeColorizer(), end=1.0)
    assert result.frames == 24


def test_compare(tmp_path: Path, color: Callable[..., VideoResult]) -> None:
    opencv_clip(tmp_path / "film.avi", 3)
    result = color("film.avi", compare=True)
    assert result.size_wh == (128, 48)
    frame = next(read(result.path)).astype(int)
    assert np.abs(frame[:, :60, 0] - frame[:, :60, 2]).max() < 8
    assert np.abs(frame[:, 68:, 0] - frame[:, 68:, 2]).mean() > 5


def test_truncated(tmp_path: Path, color: Callable[..., VideoResult]) -> None:
    opencv_clip(tmp_path / "film.avi", 72)
    data = (tmp_path / "film.avi").read_bytes()
    (tmp_path / "film.avi").write_bytes(data[: len(data) // 2])
    result = color("film.avi", "out.avi")
    assert 20 < result.frames < 50
    assert result.frames == count_frames(result.path)


def test_dropped_frames_are_noticed(
    tmp_path: Path, color: Callable[..., VideoResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    opencv_clip(tmp_path / "film.avi")
    write_frame = OpenCVWriter.write_frame

    def forgetful(self: Any, frame: Any) -> None:
        write_frame(self, frame if self.written != 3 else frame[:-2])  # a wrong size: dropped

    monkeypatch.setattr(OpenCVWriter, "write_frame", forgetful)
    with pytest.raises(VideoError, match="20 frames were written but the file has 19"):
        color("film.avi")
    assert files(tmp_path) == ["film.avi"]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"codec": "h264"}, OptionError, r"needs PyAV \(pip install av\)"),
        ({"quality": 20}, OptionError, "quality needs PyAV"),
        ({"output": "out.xyz"}, VideoError, "cannot write"),
        ({"start": 50.0}, VideoError, "no frame"),
    ],
    ids=["codec", "quality", "container", "after the end"],
)
def test_refusals(
    tmp_path: Path,
    color: Callable[..., VideoResult],
    options: dict[str, Any],
    error: type[Exception],
    words: str,
) -> None:
    opencv_clip(tmp_path / "film.avi")
    with pytest.raises(error, match=words):
        color("film.avi", **options)
    assert files(tmp_path) == ["film.avi"]


def test_not_a_video(tmp_path: Path, color: Callable[..., VideoResult]) -> None:
    (tmp_path / "film.avi").write_text("not a video")
    with pytest.raises(VideoError, match="cannot open"):
        color("film.avi")
    assert files(tmp_path) == ["film.avi"]
