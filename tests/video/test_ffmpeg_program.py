"""Audio and subtitles that the ffmpeg program adds to OpenCV's videos; checked with PyAV."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

av = pytest.importorskip("av")

from colorcv.video.api import VideoResult, colorize_video  # noqa: E402
from tests.helpers.clips import contents, make_clip  # noqa: E402
from tests.helpers.films import FakeColorizer  # noqa: E402

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg on PATH")


def color(
    monkeypatch: pytest.MonkeyPatch, source: Path, output: str, **options: Any
) -> VideoResult:
    """Colour without PyAV."""
    with monkeypatch.context() as context:
        context.setitem(sys.modules, "av", None)
        return colorize_video(
            source, source.with_name(output), colorizer=FakeColorizer(), **options
        )


def texts(path: Path) -> list[str]:
    with av.open(str(path)) as container:
        if not container.streams.subtitles:
            return []
        packets = [bytes(p) for p in container.demux(subtitles=0) if p.size]
    words = [data.decode(errors="ignore").strip("\0\3\n ") for data in packets]
    return [text for text in words if text]


@pytest.mark.parametrize("audio", [["aac"], []], ids=["with audio", "silent"])
@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_subtitles_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, audio: list[str]
) -> None:
    make_clip(tmp_path / "a.mkv", frames=20, subtitles=True, audio=audio)
    result = color(monkeypatch, tmp_path / "a.mkv", f"out{suffix}")
    assert texts(result.path) == ["one", "two"]
    assert result.audio == ("copied" if audio else "none")
    assert not any("subtitles" in note for note in result.notes)


def test_subtitles_that_are_lost_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_clip(tmp_path / "a.mkv", frames=20, subtitles=True, audio=["aac"])
    result = color(monkeypatch, tmp_path / "a.mkv", "out.avi")
    assert result.audio == "copied"
    assert any("subtitles were left out: .avi" in note for note in result.notes)


def test_audio_that_starts_before_the_video_stays_in_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_clip(
        tmp_path / "a.mkv", frames=48, pts=range(17, 65), audio=["aac"],
        options={"crf": "8", "bf": "0"},
    )  # fmt: skip
    before = contents(tmp_path / "a.mkv")
    result = color(monkeypatch, tmp_path / "a.mkv", "out.mkv")
    after = contents(result.path)
    for found in (before, after):
        late_s = float(found.video_times[0] - found.audio[0][0][0])
        assert late_s == pytest.approx(17 / 24, abs=0.05)
