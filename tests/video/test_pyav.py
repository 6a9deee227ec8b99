"""Videos through PyAV: the result is the source in colour, with nothing else changed."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

av = pytest.importorskip("av")

from colorcv import OptionError, VideoError  # noqa: E402
from colorcv.video.api import VideoResult, colorize_video  # noqa: E402
from colorcv.video.pyav.planes import has_luma_plane  # noqa: E402
from tests.helpers.clips import contents, fill, luma_frames, make_clip  # noqa: E402
from tests.helpers.cv_clips import Capture, grey_frames  # noqa: E402
from tests.helpers.films import FakeColorizer, psnr  # noqa: E402


@pytest.fixture
def color(tmp_path: Path) -> Callable[..., VideoResult]:
    """Colour a clip of tmp_path into tmp_path with a fake network."""

    def run(source: str, output: str | None = None, **options: Any) -> VideoResult:
        options.setdefault("colorizer", FakeColorizer())
        where = None if output is None else tmp_path / output
        result = colorize_video(tmp_path / source, where, **options)
        leftovers = [p.name for p in tmp_path.iterdir() if ".colorcv-" in p.name]
        assert leftovers == []
        return result

    return run


def test_h264_frames_are_encoded_side_by_side(
    tmp_path: Path, color: Callable[..., VideoResult]
) -> None:
    """Not slices of each frame, which make larger files and wait for one another."""
    make_clip(tmp_path / "film.mp4", frames=6)
    settings = color("film.mp4").path.read_bytes()  # x264 writes its own into the stream
    assert b"sliced_threads=0" in settings


def luma_psnr(before: list[Any], after: list[Any]) -> float:
    height, width = before[0].shape
    cut = [plane[:height, :width] for plane in after]
    return psnr(np.array(before), np.array(cut))


KINDS: dict[str, Any] = {
    "constant rate": {},
    "variable rate": {
        "time_base": Fraction(1, 90000),
        "pts": [0, 3000, 9000, 9500, 20000, *range(30000, 75000, 3001)],
    },
    "starts late": {"pts": list(range(30, 50))},
    "anamorphic": {"sample_aspect_ratio": Fraction(4, 3)},
    "rotated": {"rotation": 90},
    "rotated the other way": {"rotation": -90},
    "upside down": {"rotation": 180},
    "one audio track": {"audio": ["aac"]},
    "two audio tracks": {"audio": ["aac", "aac"]},
    "full range, BT.709": {"color_range": 2, "matrix": 1},
    "limited range, BT.601": {"color_range": 1, "matrix": 5},
}


class TestNothingIsLost:
    @pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
    @pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
    def test_time_stamps_audio_geometry_and_tags(
        self, tmp_path: Path, color: Callable[..., VideoResult], kind: dict[str, Any], suffix: str
    ) -> None:
        make_clip(tmp_path / f"film{suffix}", frames=len(kind.get("pts", range(20))), **kind)
        result = color(f"film{suffix}")
        assert result.path == tmp_path / f"film.color{suffix}"
        before, after = contents(tmp_path / f"film{suffix}"), contents(result.path)
        assert after.video_times == before.video_times
        assert after.audio == before.audio
        assert after.languages == before.languages
        assert after.rotation == before.rotation
        assert after.sample_aspect_ratio == before.sample_aspect_ratio
        assert after.size_wh == before.size_wh == result.size_wh
        assert after.codec == "h264"
        assert after.matrix == (before.matrix if before.matrix != 2 else 6)
        assert after.color_range == (before.color_range or 1)
        assert result.frames == len(before.luma) == len(after.luma)
        assert result.audio == ("copied" if before.audio else "none")
        assert result.notes == ()
        assert result.network_runs < result.frames / 2

    @pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv444p", "gray", "nv12"])
    def test_luma_is_unchanged(
        self, tmp_path: Path, color: Callable[..., VideoResult], pix_fmt: str
    ) -> None:
        codec = "rawvideo" if pix_fmt == "nv12" else "ffv1"
        luma = make_clip(tmp_path / "film.mkv", codec=codec, pix_fmt=pix_fmt, options={})
        after = contents(color("film.mkv", codec="ffv1").path)
        assert after.pixel_format == "yuv420p"
        assert all(np.array_equal(a, b) for a, b in zip(after.luma, luma, strict=True))

    @pytest.mark.parametrize("pix_fmt", ["yuv420p10le", "yuv444p10le", "gray10le"])
    def test_10_bits_are_kept(
        self, tmp_path: Path, color: Callable[..., VideoResult], pix_fmt: str
    ) -> None:
        luma = make_clip(tmp_path / "film.mkv", codec="ffv1", pix_fmt=pix_fmt, options={})
        after = contents(color("film.mkv", codec="ffv1").path)
        assert after.pixel_format == "yuv420p10le"
        assert all(np.array_equal(a, b) for a, b in zip(after.luma, luma, strict=True))

    def test_10_bits_in_an_8_bit_codec_are_reported(
        self, tmp_path: Path, color: Callable[..., VideoResult]
    ) -> None:
        luma = make_clip(tmp_path / "film.mkv", codec="ffv1", pix_fmt="yuv420p10le", options={})
        result = color("film.mkv", codec="vp9", quality=0)
        assert any("with 8" in note for note in result.notes)
        after = contents(result.path)
        off = np.array(after.luma, float) - np.array(luma, float) / 4
        assert np.abs(off).max() <= 3

    @pytest.mark.parametrize(
        "name", ["intel_person_15s", "chaplin_bw_silent", "bbb480p_cuts_audio"]
    )
    def test_default_quality_keeps_luma_at_44_db(
        self, tmp_path: Path, shared: Path, name: str
    ) -> None:
        source = shared / "clips" / f"{name}.mp4"
        result = colorize_video(source, tmp_path / "out.mp4", colorizer=FakeColorizer(), end=2)
        before, after = contents(source), contents(result.path)
        assert luma_psnr(before.luma[: result.frames], after.luma) >= 44

    @pytest.mark.parametrize("size_wh", [(2, 2), (16, 2), (18, 34), (600, 40)])
    def test_any_size(
        self, tmp_path: Path, color: Callable[..., VideoResult], size_wh: tuple[int, int]
    ) -> None:
        luma = make_clip(
            tmp_path / "film.mkv", frames=3, size_wh=size_wh, codec="ffv1", options={},
            luma=[np.full(size_wh[::-1], 90 + i, np.uint8) for i in range(3)],
        )  # fmt: skip
        after = contents(color("film.mkv", codec="ffv1").path)
        assert all(np.array_equal(a, b) for a, b in zip(after.luma, luma, strict=True))
        assert color("film.mkv", "small.mp4").size_wh == size_wh

    def test_quality_changes_the_size(
        self, tmp_path: Path, color: Callable[..., VideoResult]
    ) -> None:
        make_clip(tmp_path / "film.mp4")
        good = color("film.mp4", "good.mp4", quality=5).path
        bad = color("film.mp4", "bad.mp4", quality=40).path
        assert good.stat().st_size > 2 * bad.stat().st_size

    @pytest.mark.parametrize("codec", ["hevc", "vp9", "av1"])
    def test_other_codecs(
        self, tmp_path: Path, color: Callable[..., VideoResult], codec: str
    ) -> None:
        luma = make_clip(tmp_path / "film.mkv", frames=9)
        after = contents(color("film.mkv", "out.mkv", codec=codec).path)
        assert codec in (after.codec, {"libdav1d": "av1"}.get(after.codec))
        assert after.video_times == contents(tmp_path / "film.mkv").video_times
        assert luma_psnr(luma, after.luma) > 38

    def test_mp4_index_comes_first(self, tmp_path: Path, color: Callable[..., VideoResult]) -> None:
        make_clip(tmp_path / "film.mp4", audio=["aac"])
        data = color("film.mp4").path.read_bytes()
        assert data.index(b"moov") < data.index(b"mdat")

    def test_odd_size_is_padded_and_reported(
        self, tmp_path: Path, color: Callable[..., VideoResult]
    ) -> None:
        luma = make_clip(tmp_path / "film.mkv", size_wh=(95, 63), codec="ffv1", options={})
        result = color("film.mkv", codec="ffv1")
        after = contents(result.path)
        assert result.size_wh == after.size_wh == (96, 64)
        assert any("odd" in note and "95x63" in note for note in result.notes)
        for mine, theirs in zip(after.luma, luma, strict=True):
            assert np.array_equal(mine, np.pad(theirs, ((0, 1), (0, 1)), mode="edge"))

    def test_rgb_source(self, tmp_path: Path, color: Callable[..., VideoResult]) -> None:
        path = tmp_path / "film.mkv"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("ffv1", rate=24)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "bgr0"
            for level in (0, 128, 255):
                grey = np.full((48, 64, 3), level, np.uint8)
                frame = av.VideoFrame.from_ndarray(grey, format="bgr24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        after = contents(color("film.mkv", codec="ffv1").path)
        levels = [int(plane.mean()) for plane in after.luma]
        assert np.abs(np.array(levels) - (16, 126, 235)).max() <= 1
        assert after.color_range == 1

    @pytest.mark.parametrize("pix_fmt", ["yuyv422", "uyvy422", "nv21", "yuv411p"])
    def test_packed_pixel_formats(
        self, tmp_path: Path, color: Callable[..., VideoResult], pix_fmt: str
    ) -> None:
        luma = luma_frames(2, (64, 96))
        with av.open(str(tmp_path / "film.nut"), "w") as container:
            stream = container.add_stream("rawvideo", rate=24)
            stream.width, stream.height, stream.pix_fmt = 96, 64, pix_fmt
            for index, plane in enumerate(luma):
                frame = av.VideoFrame(96, 64, "yuv420p")
                fill(frame, plane, 8)
                frame = frame.reformat(format=pix_fmt)
                frame.pts = index
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        after = contents(color("film.nut", "out.mkv", codec="ffv1").path)
        assert np.abs(np.array(after.luma, int) - np.array(luma)).max() <= 1

    @pytest.mark.parametrize(
        ("pix_fmt", "bits", "is_there"),
        [
            ("yuv420p", 8, True), ("yuvj422p", 8, True), ("gray", 8, True), ("nv12", 8, True),
            ("yuv444p10le", 10, True), ("gray10le", 10, True), ("yuva420p", 8, True),
            ("yuv420p", 10, False), ("yuv420p10le", 8, False), ("yuv420p10be", 10, False),
            ("p010le", 10, False), ("yuyv422", 8, False), ("rgb24", 8, False),
            ("gbrp", 8, False), ("pal8", 8, False), ("monow", 8, False), ("ya8", 8, False),
            ("yuv420p12le", 10, False),
        ],
    )  # fmt: skip
    def test_has_luma_plane(self, pix_fmt: str, bits: int, is_there: bool) -> None:
        assert has_luma_plane(av.VideoFormat(pix_fmt), bits) is is_there

    def test_largest_video_stream_is_chosen(
        self, tmp_path: Path, color: Callable[..., VideoResult]
    ) -> None:
        make_clip(tmp_path / "film.mkv", second_video=True)
        result = color("film.mkv")
        assert result.size_wh == (96, 64)
        assert any("2 video streams" in note for note in result.notes)


class TestAudio:
    def test_re_encoded_if_the_container_refuses(
        self, tmp_path: Path, color: Callable[..., VideoResult]
    ) -> None:
        make_clip(tmp_path / "film.mkv", audio=["aac"])
        result = color("film.mkv", "film.webm")
        assert result.audio == "encoded"
        assert "aac" in result.audio_reason
        assert "opus" in result.audio_reason
        with av.open(str(result.path)) as film:
            blocks = [f.to_ndarray() for f in film.decode(audio=0)]
            heard = np.concatenate(blocks, axis=1)[0]
        assert len(heard) / 48000 == pytest.approx(20 / 24, abs=0.05)
        crossings = np.sum(np.diff(np.signbit(heard[4800:28800])))
        assert crossings / 2 / 0.5 == pytest.approx(220, rel=0.03)  # the tone that went in

    def test_audio_none(self, tmp_path: Path, color: Callable[..., VideoResult]) -> None:
        make_clip(tmp_path / "film.mp4", audio=["aac"])
        result = color("film.mp4", audio="none")
        assert (result.audio, result.audio_reason) == ("none", "left out as asked")
        assert contents(result.path).audio == []

    def test_subtitles_are_copied_or_reported(
        self, tmp_path: Path, color: Callable[..., VideoResult]
    ) -> None:
        make_clip(tmp_path / "film.mkv", subtitles=True)
        kept = color("film.mkv")
        assert contents(kept.path).subtitles == [[b"one", b"two"]]
        lost = color("film.mkv", "film.mp4")
        assert contents(lost.path).subtitles == []
        assert any("subtitles" in note for note in lost.notes)

    def test_trimmed_with_the_video(
        self, tmp_path: Path, color: Callable[..., VideoResult]
    ) -> None:
        luma = make_clip(tmp_path / "film.mkv", frames=72, audio=["aac"], codec="ffv1", options={})
        result = color("film.mkv", codec="ffv1", start=1.0, end=2.0)
        after = contents(result.path)
        assert result.frames == 24
        assert np.array_equal(after.luma[0], luma[24])
        assert np.array_equal(after.luma[-1], luma[47])
        assert after.video_times[0] == pytest.approx(0, abs=0.002)
        before = {packet for _, packet in contents(tmp_path / "film.mkv").audio[0]}
        times = [float(time) for time, _ in after.audio[0]]
        assert {packet for _, packet in after.audio[0]} <= before
        assert -0.001 <= times[0] < 0.03
        assert 0.95 < times[-1] < 1.0


class TestColour:
    @pytest.mark.parametrize("matrix", [1, 5], ids=["BT.709", "BT.601"])
    @pytest.mark.parametrize("color_range", [1, 2], ids=["limited", "full"])
    def test_colours_equal_lab(
        self, tmp_path: Path, color: Callable[..., VideoResult], matrix: int, color_range: int
    ) -> None:
        class Red(FakeColorizer):
            def predict_ab(self, lightness: Any) -> Any:
                return np.full((16, 16, 2), (35, 20), np.float32)

        grey = np.full((64, 96), 120, np.uint8)
        make_clip(
            tmp_path / "film.mkv", luma=[grey] * 3, codec="ffv1", options={},
            matrix=matrix, color_range=color_range,
        )  # fmt: skip
        y, u, v = contents(color("film.mkv", codec="ffv1", colorizer=Red()).path).planes[1]
        assert (y == 120).all()
        # By hand: Y as grey to L*, Lab to sRGB (CIE 15, IEC 61966-2-1), sRGB to U and V (H.273).
        value = 120 / 255 if color_range == 2 else (120 - 16) / 219
        linear = ((value + 0.055) / 1.055) ** 2.4
        fy = linear ** (1 / 3)
        x, z = ((fy + 35 / 500) ** 3) * 0.950456, ((fy - 20 / 200) ** 3) * 1.088754
        rgb = np.array(
            [[3.2404542, -1.5371385, -0.4985314], [-0.9692660, 1.8760108, 0.0415560],
             [0.0556434, -0.2040259, 1.0572252]]
        ) @ (x, linear, z)  # fmt: skip
        red, green, blue = 1.055 * rgb ** (1 / 2.4) - 0.055
        kr, kb = {1: (0.2126, 0.0722), 5: (0.299, 0.114)}[matrix]
        luma = kr * red + (1 - kr - kb) * green + kb * blue
        scale = 255 if color_range == 2 else 224
        assert u.mean() == pytest.approx(128 + scale * (blue - luma) / (2 * (1 - kb)), abs=0.8)
        assert v.mean() == pytest.approx(128 + scale * (red - luma) / (2 * (1 - kr)), abs=0.8)

    def test_chroma_is_reduced_at_the_edge_of_the_gamut(
        self, tmp_path: Path, color: Callable[..., VideoResult]
    ) -> None:
        class Loud(FakeColorizer):
            def predict_ab(self, lightness: Any) -> Any:
                return np.full((16, 16, 2), (90, -90), np.float32)

        ramp = np.repeat(np.linspace(16, 235, 96).astype(np.uint8)[None], 64, axis=0)
        make_clip(
            tmp_path / "film.mkv", luma=[ramp] * 2, codec="ffv1", options={},
            matrix=1, color_range=1,
        )  # fmt: skip
        y, u, v = contents(color("film.mkv", codec="ffv1", colorizer=Loud()).path).planes[0]
        assert np.array_equal(y, ramp)
        luma = (y.reshape(32, 2, 48, 2).mean(axis=(1, 3)) - 16) / 219
        cb, cr = (u - 128.0) / 224, (v - 128.0) / 224
        red, blue = luma + 1.5748 * cr, luma + 1.8556 * cb
        green = (luma - 0.2126 * red - 0.0722 * blue) / 0.7152
        for channel in (red, green, blue):
            assert channel.min() > -0.012  # U and V are rounded to 224 steps
            assert channel.max() < 1.012
        assert np.abs(cr).max() > 0.15

    def test_network_sees_a_rotated_video_upright(
        self, tmp_path: Path, color: Callable[..., VideoResult]
    ) -> None:
        dark_left = np.full((64, 96), 200, np.uint8)
        dark_left[:, :48] = 40
        make_clip(tmp_path / "film.mp4", luma=[dark_left] * 2, rotation=90)
        network = FakeColorizer()
        result = color("film.mp4", colorizer=network)
        seen = network.seen[0]
        # Turned by 90 degrees counter-clockwise, left becomes the bottom.
        assert seen[40:].mean() + 30 < seen[:24].mean()
        _, u, _ = contents(result.path).planes[0]
        assert abs(float(u[:, :20].mean()) - float(u[:, 28:].mean())) > 5  # and turned back
        assert abs(float(u[:12].mean()) - float(u[20:].mean())) < 2

    def test_saturation_0_is_grey(self, tmp_path: Path, color: Callable[..., VideoResult]) -> None:
        make_clip(tmp_path / "film.mkv", frames=3)
        _, u, v = contents(color("film.mkv", codec="ffv1", saturation=0.0).path).planes[1]
        assert (u == 128).all()
        assert (v == 128).all()

    def test_compare_puts_grey_and_colour_side_by_side(
        self, tmp_path: Path, color: Callable[..., VideoResult]
    ) -> None:
        luma = make_clip(tmp_path / "film.mkv", frames=3, codec="ffv1", options={})
        result = color("film.mkv", codec="ffv1", compare=True)
        y, u, v = contents(result.path).planes[1]
        assert result.size_wh == (192, 64)
        assert np.array_equal(y, np.hstack([luma[1], luma[1]]))
        assert (u[:, :48] == 128).all()
        assert (v[:, :48] == 128).all()
        assert np.abs(u[:, 48:].astype(int) - 128).mean() > 3

    def test_cuts_are_found(self, tmp_path: Path, color: Callable[..., VideoResult]) -> None:
        luma = [*luma_frames(11, (64, 96), seed=0), *luma_frames(10, (64, 96), seed=9)]
        make_clip(tmp_path / "film.mp4", luma=luma)
        result = color("film.mp4")
        assert (result.scene_cuts, result.cut_frames) == (1, (11,))


class TestCamera:
    def test_capture_keeps_its_time_stamps(self, tmp_path: Path) -> None:
        times = [0.0, 0.04, 0.08, 0.5, 0.54, 0.7]
        made = grey_frames(6, (47, 64))
        capture = Capture(made, times)
        result = colorize_video(
            capture, tmp_path / "out.mp4", colorizer=FakeColorizer(), compare=True
        )
        after = contents(result.path)
        assert [float(time) for time in after.video_times] == pytest.approx(times, abs=1e-4)
        assert result.size_wh == after.size_wh == (128, 48)
        assert (after.matrix, after.color_range) == (1, 1)
        assert any("odd" in note for note in result.notes)
        expected = 16 + made[2][..., 0] * (219 / 255)
        assert np.abs(after.luma[2][:47, :64] - expected).mean() < 3


class TestDamage:
    def test_truncated_video_gives_what_it_has(
        self, tmp_path: Path, color: Callable[..., VideoResult]
    ) -> None:
        path = tmp_path / "film.mkv"
        make_clip(path, frames=72, audio=["aac"])
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        result = color("film.mkv")
        assert 10 < result.frames < 60
        assert any("ends after" in note for note in result.notes)
        before, after = contents(path), contents(result.path)
        assert after.video_times == before.video_times[: len(after.video_times)]

    def test_damaged_packets_are_skipped_and_counted(
        self, tmp_path: Path, color: Callable[..., VideoResult]
    ) -> None:
        path = tmp_path / "film.mov"
        make_clip(path, codec="png", pix_fmt="gray", options={})
        data = bytearray(path.read_bytes())
        at = -1
        for _ in range(6):
            at = data.index(b"IHDR", at + 1)
        data[at : at + 30] = bytes(30)
        path.write_bytes(data)
        result = color("film.mov")
        assert result.damaged_packets == 1
        assert result.frames == 19

    @pytest.mark.parametrize("suffix", [".mkv", ".ts", ".mp4"])
    def test_damage_gives_a_valid_video_or_an_error(
        self, tmp_path: Path, color: Callable[..., VideoResult], suffix: str
    ) -> None:
        path = tmp_path / f"film{suffix}"
        make_clip(path, frames=12, audio=["aac"])
        whole = path.read_bytes()
        colored = 0
        for seed in range(12):
            dice = random.Random(seed)
            data = bytearray(whole)
            for _ in range(dice.choice((1, 20, 300))):
                data[dice.randrange(len(data))] = dice.randrange(256)
            path.write_bytes(data[: dice.choice((len(data), dice.randrange(len(data))))])
            try:
                result = color(path.name, overwrite=True)
            except VideoError:
                continue
            colored += 1
            assert len(contents(result.path).luma) == result.frames > 0
        assert colored >= 3

    def test_mp4_without_index(self, tmp_path: Path, color: Callable[..., VideoResult]) -> None:
        path = tmp_path / "film.mp4"
        make_clip(path)
        path.write_bytes(path.read_bytes()[:4000])
        with pytest.raises(VideoError, match=r"film\.mp4: cannot read it as a video"):
            color("film.mp4")

    def test_not_a_video(self, tmp_path: Path, color: Callable[..., VideoResult]) -> None:
        (tmp_path / "film.mp4").write_text("this is no film" * 100)
        with pytest.raises(VideoError, match="cannot read it as a video"):
            color("film.mp4")
        with av.open(str(tmp_path / "sound.mp4"), "w") as container:
            stream = container.add_stream("aac", rate=48000)
            frame = av.AudioFrame.from_ndarray(
                np.zeros((1, 2048), np.int16), format="s16", layout="mono"
            )
            frame.sample_rate = 48000
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        with pytest.raises(VideoError, match="no video"):
            color("sound.mp4")
        assert sorted(p.name for p in tmp_path.iterdir()) == ["film.mp4", "sound.mp4"]

    def test_name_with_a_colon(self, tmp_path: Path, color: Callable[..., VideoResult]) -> None:
        make_clip(tmp_path / "film.mp4", frames=3)
        (tmp_path / "film.mp4").rename(tmp_path / "http:film.mp4")
        assert color("http:film.mp4").frames == 3

    def test_playlist_opens_no_other_file(
        self, tmp_path: Path, color: Callable[..., VideoResult]
    ) -> None:
        (tmp_path / "film.mp4").write_text(
            "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nhttp://127.0.0.1:9/a.ts\n"
        )
        with pytest.raises(VideoError):
            color("film.mp4")


REFUSED: dict[str, Any] = {
    "unknown codec": ({"codec": "h263"}, OptionError, "h263"),
    "quality out of range": ({"quality": 99}, OptionError, "99"),
    "quality of a lossless codec": ({"codec": "ffv1", "quality": 3}, OptionError, "lossless"),
    "unknown audio": ({"audio": "loud"}, OptionError, "loud"),
    "start after end": ({"start": 3.0, "end": 2.0}, OptionError, "after"),
    "negative start": ({"start": -1.0}, OptionError, "-1"),
    "interval 0": ({"keyframe_interval": 0}, OptionError, "keyframe_interval"),
    "saturation": ({"saturation": -1}, OptionError, "saturation"),
    "after the end": ({"start": 100.0}, VideoError, "no frame"),
    "codec and container": ({"output": "out.webm", "codec": "h264"}, VideoError, "webm"),
    "unknown container": ({"output": "out.xyz"}, VideoError, "xyz"),
    "no suffix": ({"output": "out"}, VideoError, "suffix"),
    "missing folder": ({"output": "nowhere/out.mp4"}, VideoError, "nowhere"),
}


class TestRefusals:
    @pytest.mark.parametrize(("options", "error", "words"), REFUSED.values(), ids=REFUSED)
    def test_refusal_leaves_no_file(
        self,
        tmp_path: Path,
        color: Callable[..., VideoResult],
        options: dict[str, Any],
        error: type[Exception],
        words: str,
    ) -> None:
        make_clip(tmp_path / "film.mp4")
        with pytest.raises(error, match=words):
            color("film.mp4", **options)
        assert [p.name for p in tmp_path.iterdir()] == ["film.mp4"]

    def test_existing_output(self, tmp_path: Path, color: Callable[..., VideoResult]) -> None:
        make_clip(tmp_path / "film.mp4")
        (tmp_path / "film.color.mp4").write_text("mine")
        with pytest.raises(VideoError, match="already exists"):
            color("film.mp4")
        assert (tmp_path / "film.color.mp4").read_text() == "mine"
        assert color("film.mp4", overwrite=True).frames == 20

    def test_output_created_in_the_meantime_is_kept(
        self, tmp_path: Path, color: Callable[..., VideoResult]
    ) -> None:
        make_clip(tmp_path / "film.mp4")

        def other_program(done: int, total: int | None) -> None:
            (tmp_path / "film.color.mp4").write_text("mine")

        with pytest.raises(VideoError, match="was created in the meantime"):
            color("film.mp4", progress=other_program)
        assert (tmp_path / "film.color.mp4").read_text() == "mine"

    def test_output_equal_to_input(self, tmp_path: Path, color: Callable[..., VideoResult]) -> None:
        make_clip(tmp_path / "film.mp4")
        before = (tmp_path / "film.mp4").read_bytes()
        os.link(tmp_path / "film.mp4", tmp_path / "other.mp4")
        for name in ("film.mp4", "other.mp4"):
            with pytest.raises(VideoError, match="is the input itself"):
                color("film.mp4", name, overwrite=True)
        assert (tmp_path / "film.mp4").read_bytes() == before


class TestInterruption:
    @pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
    @pytest.mark.parametrize("where", ["network", "progress"])
    def test_nothing_is_left(
        self, tmp_path: Path, color: Callable[..., VideoResult], error: Any, where: str
    ) -> None:
        make_clip(tmp_path / "film.mp4", frames=60, audio=["aac"])

        class Failing(FakeColorizer):
            def predict_ab(self, lightness: Any) -> Any:
                if len(self.seen) == 2:
                    raise error("stop")
                return super().predict_ab(lightness)

        def stop(done: int, total: int | None) -> None:
            if done == 15:
                raise error("stop")

        how = {"colorizer": Failing()} if where == "network" else {"progress": stop}
        with pytest.raises(error):
            color("film.mp4", **how)
        assert [p.name for p in tmp_path.iterdir()] == ["film.mp4"]
        assert not [t for t in threading.enumerate() if t.name.startswith("colorcv-video")]

    def test_progress_counts_every_frame(
        self, tmp_path: Path, color: Callable[..., VideoResult]
    ) -> None:
        make_clip(tmp_path / "film.mp4")
        calls: list[tuple[int, int | None]] = []
        color("film.mp4", progress=lambda done, total: calls.append((done, total)))
        assert calls == [(i, 20) for i in range(1, 21)]

    def test_few_frames_are_held_at_a_time(
        self, tmp_path: Path, color: Callable[..., VideoResult], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from colorcv.video.pyav import reader, writer

        make_clip(tmp_path / "film.mp4", frames=240, size_wh=(64, 48))
        read = written = max_held = 0
        with_lightness = reader.PyAVReader._with_lightness
        write_frame = writer.PyAVWriter.write_frame

        def counted_read(self: Any, frame: Any) -> Any:
            nonlocal read, max_held
            read += 1
            max_held = max(max_held, read - written)
            return with_lightness(self, frame)

        def counted_write(self: Any, frame: Any) -> None:
            nonlocal written
            written += self._sink is None  # not what probes the encoder
            write_frame(self, frame)

        monkeypatch.setattr(reader.PyAVReader, "_with_lightness", counted_read)
        monkeypatch.setattr(writer.PyAVWriter, "write_frame", counted_write)
        color("film.mp4", keyframe_interval=8)
        assert read == written == 240
        assert max_held <= 8 + 8 + 8 + 4  # two queues, a group of frames, and one in each thread
