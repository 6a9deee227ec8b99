"""Interlacing, pixel aspect ratio, rotation and bit depth are kept, or their loss is noted."""

from __future__ import annotations

import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

av = pytest.importorskip("av")

from colorcv import OptionError, VideoError  # noqa: E402
from colorcv.video.api import VideoResult, colorize_video, preview  # noqa: E402
from colorcv.video.pyav.matroska import set_pixel_aspect_ratio  # noqa: E402
from tests.helpers.clips import contents, make_clip  # noqa: E402
from tests.helpers.films import FakeColorizer  # noqa: E402


@pytest.fixture
def color(tmp_path: Path) -> Callable[..., VideoResult]:
    def run(source: str, output: str, **options: Any) -> VideoResult:
        options.setdefault("colorizer", FakeColorizer())
        return colorize_video(tmp_path / source, tmp_path / output, **options)

    return run


INTERLACED: dict[str, dict[str, Any]] = {
    "H.264": {"options": {"x264-params": "tff=1", "flags": "+ilme+ildct", "crf": "5"}},
    "MPEG-2": {
        "codec": "mpeg2video",
        "options": {"flags": "+ilme+ildct", "b": "4000000", "bf": "0"},
    },
    "DV": {"codec": "dvvideo", "size_wh": (720, 576), "options": {}},
    "H.264, large": {
        "size_wh": (1920, 1080),
        "options": {
            "x264-params": "tff=1",
            "flags": "+ilme+ildct",
            "preset": "ultrafast",
            "crf": "5",
        },
    },
}


def is_decoded(path: Path, luma: list[Any]) -> bool:
    """Return True if OpenCV reads the frames that were written."""
    capture = cv2.VideoCapture(str(path))
    for plane in luma:
        ok, frame = capture.read()
        expected = np.clip((plane - 16.0) * (255 / 219), 0, 255)
        if not ok or np.abs(frame.mean(axis=2) - expected).mean() > 5:
            return False
    return not capture.read()[0]


class TestInterlaced:
    @staticmethod
    def make(path: Path, kind: dict[str, Any]) -> tuple[Path, list[Any]]:
        path = path.with_suffix(".avi" if "codec" in kind else ".mkv")
        return path, make_clip(path, frames=6, rate=25, **kind)

    @pytest.mark.parametrize("kind", INTERLACED.values(), ids=INTERLACED)
    def test_opencv_alone_refuses_it_unless_it_is_right(
        self,
        tmp_path: Path,
        color: Callable[..., VideoResult],
        monkeypatch: pytest.MonkeyPatch,
        kind: dict[str, Any],
    ) -> None:
        """OpenCV 4.14 and 5.0 return memory that they have not written, and no error."""
        path, luma = self.make(tmp_path / "a", kind)
        monkeypatch.setitem(sys.modules, "av", None)
        if is_decoded(path, luma):  # OpenCV 4.10 does
            assert color(path.name, "out.avi", codec="ffv1").frames == len(luma)
            times = [time_s for time_s, _, _ in preview(path, 2, colorizer=FakeColorizer())]
            assert times == pytest.approx([0.04, 0.16], abs=0.05)
            return
        with pytest.raises(VideoError, match=r"interlaced .*pip install av.*yadif"):
            color(path.name, "out.avi")
        with pytest.raises(VideoError, match="interlaced"):
            list(preview(path, 2, colorizer=FakeColorizer()))
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.parametrize("kind", INTERLACED.values(), ids=INTERLACED)
    def test_preview_is_right_with_pyav(self, tmp_path: Path, kind: dict[str, Any]) -> None:
        path, luma = self.make(tmp_path / "a", kind)
        found = list(preview(path, 6, colorizer=FakeColorizer()))
        assert len(found) == 6
        for (_, frame, _), plane in zip(found, luma, strict=True):
            expected = np.clip((plane - 16.0) * (255 / 219), 0, 255)
            assert np.abs(frame.mean(axis=2) - expected).mean() < 5


@pytest.mark.parametrize(
    ("codec", "suffix"),
    [("h264", ".mp4"), ("h264", ".mkv"), ("hevc", ".mkv"), ("vp9", ".mp4"), ("av1", ".mp4"),
     ("ffv1", ".mp4"), ("h264", ".ts"), ("h264", ".avi")],
)  # fmt: skip
def test_pixel_aspect_ratio_is_kept(
    tmp_path: Path, color: Callable[..., VideoResult], codec: str, suffix: str
) -> None:
    make_clip(tmp_path / "a.mp4", frames=6, sample_aspect_ratio=Fraction(64, 45))
    result = color("a.mp4", f"out{suffix}", codec=codec)
    assert contents(result.path).sample_aspect_ratio == Fraction(64, 45)
    assert not any("64:45" in note for note in result.notes)


@pytest.mark.parametrize(
    ("codec", "suffix"),
    [("vp9", ".mkv"), ("av1", ".mkv"), ("ffv1", ".mkv"), ("vp9", ".webm"), ("av1", ".webm")],
)
def test_pixel_aspect_ratio_in_matroska(
    tmp_path: Path, color: Callable[..., VideoResult], codec: str, suffix: str
) -> None:
    """PyAV cannot set the ratio on the stream, so it is written into the finished file."""
    luma = make_clip(
        tmp_path / "a.mp4", frames=6, size_wh=(360, 64), sample_aspect_ratio=Fraction(64, 45),
        audio=["aac"],
    )  # fmt: skip
    result = color("a.mp4", f"out{suffix}", codec=codec)
    assert contents(result.path).sample_aspect_ratio == Fraction(64, 45)
    assert result.notes == ()
    # The check sums of the header are right, and what follows was not moved.
    checks = {"err_detect": "crccheck+explode"}
    with av.open(str(result.path), container_options=checks) as container:
        assert [int(s.index) for s in container.streams] == [0, 1]
        container.seek(int(0.2 * av.time_base))
        assert len(list(container.decode(video=0))) == len(luma)


def test_pixel_aspect_ratio_that_is_lost_is_said(
    tmp_path: Path, color: Callable[..., VideoResult]
) -> None:
    make_clip(tmp_path / "a.mp4", frames=6, sample_aspect_ratio=Fraction(64, 45))
    result = color("a.mp4", "out.avi", codec="ffv1")
    assert any("64:45" in note and ".avi" in note for note in result.notes)


def test_a_header_of_another_kind_is_left_alone(tmp_path: Path) -> None:
    for data in (b"", b"RIFF1234", b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\xff" + bytes(40)):
        path = tmp_path / "a.mkv"
        path.write_bytes(data)
        assert set_pixel_aspect_ratio(path, Fraction(64, 45)) is False
        assert path.read_bytes() == data


def test_opencv_alone_says_that_the_pixel_aspect_ratio_is_lost(
    tmp_path: Path, color: Callable[..., VideoResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_clip(tmp_path / "a.mp4", frames=6, sample_aspect_ratio=Fraction(64, 45))
    monkeypatch.setitem(sys.modules, "av", None)
    assert any("64:45" in note for note in color("a.mp4", "out.mp4").notes)


@pytest.mark.parametrize("suffix", [".avi", ".ts"])
def test_rotation_that_is_lost_is_said(
    tmp_path: Path, color: Callable[..., VideoResult], suffix: str
) -> None:
    make_clip(tmp_path / "a.mp4", frames=6, rotation=90)
    result = color("a.mp4", f"out{suffix}")
    assert any("rotation was lost" in note for note in result.notes)
    assert color("a.mp4", "out.mkv").notes == ()


MATRICES = {
    "mirrored": ([-1, 0, 0, 1], lambda frame: frame[:, ::-1]),
    "upside down, mirrored": ([1, 0, 0, -1], lambda frame: frame[::-1]),
    "turned by 180": ([-1, 0, 0, -1], lambda frame: frame[::-1, ::-1]),
    "transposed": ([0, 1, 1, 0], lambda frame: frame.T),
    "turned to the right": ([0, 1, -1, 0], lambda frame: np.rot90(frame, -1)),
    "turned to the left": ([0, -1, 1, 0], lambda frame: np.rot90(frame, 1)),
}


@pytest.mark.parametrize(("matrix", "shown"), MATRICES.values(), ids=MATRICES)
def test_the_network_sees_what_players_show(
    tmp_path: Path,
    color: Callable[..., VideoResult],
    matrix: list[int],
    shown: Callable[[Any], Any],
) -> None:
    a, b, c, d = (n * 65536 for n in matrix)
    luma = np.full((64, 64), 60, np.uint8)
    luma[:16] = 120
    luma[:, :16] = 220  # no symmetry at all
    make_clip(
        tmp_path / "a.mp4", size_wh=(64, 64), luma=[luma] * 3,
        display_matrix=[a, b, 0, c, d, 0, 0, 0, 1 << 30],
    )  # fmt: skip
    network = FakeColorizer()
    result = color("a.mp4", "out.mp4", colorizer=network, codec="ffv1")
    expected = shown(luma).astype(float)
    seen = network.seen[0].astype(float)
    assert np.corrcoef(seen.ravel(), expected.ravel())[0, 1] > 0.98
    # ab is linear in lightness, so U and V match the stored luma if they were rotated back.
    _, u, _ = contents(result.path).planes[0]
    half = luma.reshape(32, 2, 32, 2).mean(axis=(1, 3))
    assert abs(np.corrcoef(u.ravel(), half.ravel())[0, 1]) > 0.9
    _, frame, _ = next(iter(preview(tmp_path / "a.mp4", 1, colorizer=network)))
    assert np.corrcoef(frame[..., 1].ravel(), expected.ravel())[0, 1] > 0.98


@pytest.mark.parametrize(
    ("pix_fmt", "words"),
    [("yuv420p10le", "10 bits were kept"), ("yuv420p12le", "12 bits is written with 10"),
     ("yuv420p16le", "16 bits is written with 10")],
)  # fmt: skip
def test_bits_that_are_lost_are_said(
    tmp_path: Path, color: Callable[..., VideoResult], pix_fmt: str, words: str
) -> None:
    make_clip(tmp_path / "a.mkv", frames=3, codec="ffv1", pix_fmt=pix_fmt, options={})
    assert any(words in note for note in color("a.mkv", "out.mp4").notes)


@pytest.mark.parametrize("codec", ["h264", "hevc", "vp9", "ffv1"])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le"])
def test_lossless_keeps_luma_bit_for_bit(
    tmp_path: Path, color: Callable[..., VideoResult], codec: str, pix_fmt: str
) -> None:
    if codec == "vp9" and pix_fmt != "yuv420p":
        pytest.skip("VP9 is written with 8 bits")
    luma = make_clip(tmp_path / "a.mkv", frames=5, codec="ffv1", pix_fmt=pix_fmt, options={})
    result = color("a.mkv", "out.mkv", codec=codec, quality="lossless")
    after = contents(result.path).luma
    assert all(np.array_equal(a, b) for a, b in zip(after, luma, strict=True))


def test_lossless_where_there_is_none(tmp_path: Path, color: Callable[..., VideoResult]) -> None:
    make_clip(tmp_path / "a.mkv", frames=3)
    with pytest.raises(OptionError, match=r"av1 cannot be lossless.*ffv1"):
        color("a.mkv", "out.mkv", codec="av1", quality="lossless")
    with pytest.raises(OptionError, match=r"between 0 \(best\) and 51, or 'lossless', got 'best'"):
        color("a.mkv", "out.mkv", quality="best")


def test_gif(tmp_path: Path, color: Callable[..., VideoResult]) -> None:
    with av.open(str(tmp_path / "a.gif"), "w") as container:
        stream = container.add_stream("gif", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb8"
        for level in (40, 120, 200):
            grey = np.full((48, 64, 3), level, np.uint8)
            grey[:, :8] = 255
            frame = av.VideoFrame.from_ndarray(grey, format="rgb24").reformat(format="rgb8")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    result = colorize_video(tmp_path / "a.gif", colorizer=FakeColorizer(), codec="ffv1")
    assert result.path.name == "a.color.mp4"
    assert result.frames == 3
    levels = [float(plane[:, 16:].mean()) for plane in contents(result.path).luma]
    assert levels == sorted(levels)
    assert levels[2] - levels[0] > 80
