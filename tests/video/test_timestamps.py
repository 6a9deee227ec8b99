"""Clocks that jump, wrap around or start late: players show everything, audio stays in step."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

av = pytest.importorskip("av")

from colorcv.video.api import VideoResult, colorize_video  # noqa: E402
from colorcv.video.pyav.timestamps import DiscontinuityCorrector  # noqa: E402
from tests.helpers.clips import contents, make_clip  # noqa: E402
from tests.helpers.films import FakeColorizer  # noqa: E402

WRAP_S = 2**33 / 90_000  # where the clock of MPEG-TS starts again


@pytest.fixture
def color(tmp_path: Path) -> Callable[..., VideoResult]:
    def run(source: str, output: str, **options: Any) -> VideoResult:
        return colorize_video(
            tmp_path / source, tmp_path / output, colorizer=FakeColorizer(), **options
        )

    return run


def check(result: VideoResult, frames: int, *, gap_s: float = 0.2) -> None:
    """Assert that frames and audio start at about 0 and have no gaps."""
    found = contents(result.path)
    assert result.frames == len(found.video_times) == frames
    times = [float(time) for time in found.video_times]
    assert 0 <= times[0] < 0.2
    steps = [after - before for before, after in pairwise(times)]
    assert min(steps) > 0.03
    assert max(steps) < 0.04 + gap_s
    assert result.duration_s == pytest.approx(frames / 25, abs=0.25)
    for track in found.audio:
        moments = [float(time) for time, _ in track]
        assert max(b - a for a, b in pairwise(moments)) < gap_s
        assert abs(moments[0] - times[0]) < 0.15
        assert abs(moments[-1] - times[-1]) < 0.2


def clip(path: Path, start_s: float = 0.0, **options: Any) -> None:
    make_clip(path, frames=50, rate=25, start_s=start_s, audio=["aac"], **options)


def join(target: Path, *parts: Path) -> None:
    target.write_bytes(b"".join(part.read_bytes() for part in parts))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_joined_ts(tmp_path: Path, color: Callable[..., VideoResult], suffix: str) -> None:
    clip(tmp_path / "a.ts", 3)
    join(tmp_path / "b.ts", tmp_path / "a.ts", tmp_path / "a.ts")
    result = color("b.ts", f"out{suffix}")
    packets = len(contents(tmp_path / "a.ts").audio[0])
    if suffix == ".ts":  # whose muxer starts its clock later
        assert result.duration_s == pytest.approx(4, abs=0.25)
        return
    check(result, 100)
    assert len(contents(result.path).audio[0]) == 2 * packets
    assert (result.audio, result.damaged_packets) == ("copied", 0)


def test_joined_vob(tmp_path: Path, color: Callable[..., VideoResult]) -> None:
    make_clip(
        tmp_path / "a.vob", frames=50, rate=25, codec="mpeg2video", audio=["mp2"],
        container_format="vob", options={"b": "2000000"},
    )  # fmt: skip
    join(tmp_path / "b.vob", tmp_path / "a.vob", tmp_path / "a.vob")
    result = color("b.vob", "out.mp4")
    check(result, 100)
    packets = len(contents(tmp_path / "a.vob").audio[0])
    assert abs(len(contents(result.path).audio[0]) - 2 * packets) <= 1  # one is cut by the join
    assert result.audio == "copied"


def test_a_clock_that_jumps_ahead_by_an_hour(
    tmp_path: Path, color: Callable[..., VideoResult]
) -> None:
    clip(tmp_path / "a.ts", 3)
    clip(tmp_path / "late.ts", 3600)
    join(tmp_path / "b.ts", tmp_path / "a.ts", tmp_path / "late.ts", tmp_path / "a.ts")
    result = color("b.ts", "out.mp4")
    check(result, 150)
    assert not any("header" in note for note in result.notes)


@pytest.mark.parametrize("start_s", [1200, WRAP_S - 1], ids=["starts at 1200 s", "wraps"])
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_a_clock_that_starts_anywhere(
    tmp_path: Path, color: Callable[..., VideoResult], start_s: float, suffix: str
) -> None:
    clip(tmp_path / "a.ts", start_s)
    result = color("a.ts", f"out{suffix}")
    check(result, 50)
    assert result.notes == ()


def test_a_part_of_a_joined_video(tmp_path: Path, color: Callable[..., VideoResult]) -> None:
    clip(tmp_path / "a.ts", 3, codec="libx264", options={"crf": "8", "g": "10", "bf": "2"})
    join(tmp_path / "b.ts", tmp_path / "a.ts", tmp_path / "a.ts")
    result = color("b.ts", "out.mkv", start=2.5, end=3.5, codec="ffv1")
    whole = color("b.ts", "whole.mkv", codec="ffv1")
    part, everything = contents(result.path), contents(whole.path)
    start_s = Fraction(5, 2)
    expected = [
        plane
        for time, plane in zip(everything.video_times, everything.luma, strict=True)
        if start_s <= time < 3.5
    ]
    assert 20 <= len(part.luma) <= 26
    for mine, theirs in zip(part.luma, expected, strict=True):
        assert (mine == theirs).all()


def test_the_subtitle_on_screen_at_the_start_is_kept(
    tmp_path: Path, color: Callable[..., VideoResult]
) -> None:
    make_clip(tmp_path / "a.mkv", frames=20, subtitles=True)  # "one" from 0 s to 0.2 s
    result = color("a.mkv", "out.mkv", start=0.1)
    with av.open(str(result.path)) as container:
        packets = [p for p in container.demux(subtitles=0) if p.size]
        found = [(bytes(p), float(p.pts * p.time_base), float(p.duration * p.time_base))
                 for p in packets]  # fmt: skip
    assert [text for text, _, _ in found] == [b"one", b"two"]
    assert found[0][1:] == pytest.approx((0.0, 0.1), abs=0.002)
    assert found[1][1:] == pytest.approx((0.2, 0.2), abs=0.002)


def test_audio_that_ends_later_is_no_early_end(
    tmp_path: Path, color: Callable[..., VideoResult]
) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream("aac", rate=48000, layout="mono")
        for index in range(25):
            frame = av.VideoFrame(64, 48, "yuv420p")
            frame.pts = index
            container.mux(stream.encode(frame))
        for index in range(120):  # 2.5 s
            block = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            block.sample_rate, block.pts = 48000, 1024 * index
            container.mux(sound.encode(block))
        for each in (stream, sound):
            container.mux(each.encode(None))
    for audio in ("auto", "none"):
        assert color("a.mkv", f"{audio}.mkv", audio=audio).notes == ()


def test_what_players_show_is_measured(
    tmp_path: Path, color: Callable[..., VideoResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the correction, the note says how much is shown."""
    clip(tmp_path / "a.ts", 3)
    join(tmp_path / "b.ts", tmp_path / "a.ts", tmp_path / "a.ts")
    result = color("b.ts", "good.mkv")
    assert result.notes == ()
    from colorcv.video.pyav import writer

    def half(path: Path, **options: bool) -> Any:
        found = inspect_video(path, **options)
        return found._replace(shown_s=found.shown_s / 2)

    inspect_video = writer.inspect_video
    monkeypatch.setattr(writer, "inspect_video", half)
    assert any("players will show" in note for note in color("b.ts", "bad.mkv").notes)


class TestDiscontinuityCorrector:
    @staticmethod
    def run(packets: list[tuple[int, float]], *, may_jump_ahead: bool = True) -> list[float]:
        """Correct packets of streams 0 (video) and 1 (audio), 0.5 s each, given by their times."""
        corrector = DiscontinuityCorrector(may_jump_ahead=may_jump_ahead)
        corrected = []
        for index, time in packets:
            stream = SimpleNamespace(index=index, type=("video", "audio", "subtitle")[index])
            base = Fraction(1, 10)
            packet: Any = SimpleNamespace(
                stream=stream, pts=round(time * 10), dts=round(time * 10), duration=5,
                time_base=base,
            )  # fmt: skip
            corrector.correct(packet)
            corrected.append(float(packet.dts * base))
        return corrected

    def test_undisturbed(self) -> None:
        packets = [(0, 0.0), (1, 0.1), (0, 0.5), (1, 0.6), (0, 1.0)]
        assert self.run(packets) == [time for _, time in packets]

    def test_streams_that_change_at_different_packets_stay_in_step(self) -> None:
        packets = [(0, 5.0), (1, 5.0), (0, 5.5), (1, 5.5), (0, 0.0), (1, 6.0), (1, 0.5), (0, 0.5)]
        assert self.run(packets) == [5.0, 5.0, 5.5, 5.5, 6.0, 6.0, 6.5, 6.5]

    def test_a_pause_of_one_stream_is_no_jump(self) -> None:
        video = [(0, time / 2) for time in range(60)]
        packets = [(1, 0.0), *video, (1, 29.5)]
        assert self.run(packets) == [time for _, time in packets]

    def test_a_gap_is_kept_where_clocks_do_not_jump(self) -> None:
        packets = [(0, 0.0), (0, 60.0), (0, 60.5)]
        assert self.run(packets, may_jump_ahead=False) == [0.0, 60.0, 60.5]
        assert self.run(packets) == [0.0, 0.5, 1.0]

    def test_subtitles_follow(self) -> None:
        assert self.run([(0, 50.0), (0, 0.0), (2, 0.2), (0, 0.5)]) == [50.0, 50.5, 50.7, 51.0]


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
@pytest.mark.parametrize("part", [{}, {"start": 1.0, "end": 1.59}])
def test_b_frames_in_avi_are_neither_early_nor_late(
    tmp_path: Path, color: Callable[..., VideoResult], codec: str, part: dict[str, float]
) -> None:
    """AVI stores no times of presentation, and FFmpeg's guesses are a frame or more off."""
    levels = [30 + 4 * index for index in range(50)]
    luma = [np.full((64, 96), level, np.uint8) for level in levels]
    quality = {"crf": "5"} if codec == "libx264" else {"b": "4000000", "qmax": "2"}
    options = {"bf": "2", "g": "12", **quality}
    make_clip(
        tmp_path / "a.avi", rate=25, luma=luma, codec=codec, audio=["pcm_s16le"], options=options
    )
    result = color("a.avi", "out.mkv", **part)
    found = contents(result.path)
    first, count = (25, 15) if part else (0, 50)
    shown = [np.argmin([abs(plane.mean() - level) for level in levels]) for plane in found.luma]
    assert shown == list(range(first, first + count))
    moments = [float(time) for time in found.video_times]
    assert moments == pytest.approx([index / 25 for index in range(count)], abs=0.002)
    assert float(found.audio[0][0][0]) == pytest.approx(0, abs=0.05)
