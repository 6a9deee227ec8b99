"""Borders of scenes: the network sees the inside only, and the border stays grey."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from colorcv import Colorizer, Hint, OptionError
from colorcv.anchors import Prediction
from colorcv.cli import parser
from colorcv.video.api import colorize_video, preview
from colorcv.video.border import SceneBorder
from tests.helpers.films import FakeColorizer, Float32, texture

Grey = npt.NDArray[np.uint8]
HW = (96, 128)
HINT = Hint(96, 48, "#b02020", radius=20)
CELL = 2  # pixels per cell of the fake network's input, along the longer axis


class Global(FakeColorizer):
    """A network whose answer depends on the whole frame, as that of a real one does."""

    def predict_ab(self, lightness: Float32) -> Float32:
        """Return ab relative to the mean lightness of the frame."""
        ab = super().predict_ab(lightness)
        return ab + np.float32(0.8) * np.float32(lightness.mean() - 50)


@pytest.fixture(params=["pyav", "opencv"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    name: str = request.param
    if name == "pyav":
        pytest.importorskip("av")
    else:
        monkeypatch.setitem(sys.modules, "av", None)
    return name


def pan(count: int, hw: tuple[int, int], seed: int = 0, light: float = 130) -> list[Grey]:
    height, width = hw
    wide = light * (1 + 0.3 * texture(seed, (height, width + count), 1, 16)[..., 0])
    return [np.clip(wide[:, i : i + width], 0, 255).astype(np.uint8) for i in range(count)]


def pillars(frames: list[Grey], side: int = 32, level: int = 24) -> list[Grey]:
    return [
        cv2.copyMakeBorder(f, 0, 0, side, side, cv2.BORDER_CONSTANT, value=level) for f in frames
    ]


def letterbox(frames: list[Grey], bar: int = 24) -> list[Grey]:
    return [cv2.copyMakeBorder(f, bar, bar, 0, 0, cv2.BORDER_CONSTANT, value=0) for f in frames]


def write(path: Path, frames: list[Grey]) -> None:
    height, width = frames[0].shape
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"FFV1"), 24, (width, height))
    assert writer.isOpened()
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
    writer.release()


def ab_of(path: Path) -> npt.NDArray[np.float64]:
    """Return a and b of every frame, (N, H, W, 2)."""
    capture, frames = cv2.VideoCapture(str(path)), []
    while (answer := capture.read())[0]:
        frames.append(cv2.cvtColor(answer[1].astype(np.float32) / 255, cv2.COLOR_BGR2LAB)[..., 1:])
    return np.array(frames, np.float64)


def colored(tmp_path: Path, frames: list[Grey], **options: Any) -> npt.NDArray[np.float64]:
    write(tmp_path / "film.mkv", frames)
    options.setdefault("colorizer", Global())
    colorize_video(
        tmp_path / "film.mkv", tmp_path / "color.mkv", codec="ffv1", overwrite=True, **options
    )
    return ab_of(tmp_path / "color.mkv")


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("interval", [1, 8])
def test_pillarboxed_clip(tmp_path: Path, interval: int) -> None:
    inside = pan(20, HW)
    ab = colored(tmp_path, pillars(inside), keyframe_interval=interval)
    # Cubic upsampling rings, and 4:2:0 spreads it, by one level of 8 bits next to the edge.
    near = 2 * CELL
    for side in (ab[:, :, :32], ab[:, :, :-33:-1]):
        assert np.abs(side[:, :, :-near]).max() == 0
        assert np.abs(side[:, :, -near:]).max() < 3
    cropped = colored(tmp_path, inside, keyframe_interval=interval)
    whole = colored(tmp_path, pillars(inside), keyframe_interval=interval, ignore_border=False)
    fringe = 4 * CELL + 2
    seen, expected = ab[:, :, 32 + fringe : -32 - fringe], cropped[:, :, fringe:-fringe]
    error = np.abs(seen - expected).mean()
    misled = np.abs(whole[:, :, 32 + fringe : -32 - fringe] - expected).mean()
    assert np.abs(expected).mean() > 5
    assert error < 1.2
    assert misled > 8 * error
    assert np.abs(whole[:, :, :28]).mean() > 2


@pytest.mark.usefixtures("backend")
def test_clip_without_border_is_unchanged(tmp_path: Path) -> None:
    one, two = Global(), Global()
    auto = colored(tmp_path, pan(20, HW), colorizer=one)
    off = colored(tmp_path, pan(20, HW), colorizer=two, ignore_border=False)
    assert np.array_equal(auto, off)
    for mine, theirs in zip(one.seen, two.seen, strict=True):
        assert np.array_equal(mine, theirs)


def test_night_has_no_border(tmp_path: Path) -> None:
    night = [f // 12 for f in pan(12, HW, light=120)]
    for frame in night:
        frame[40:56, 50:60] = 210  # a window
    one, two = Global(), Global()
    auto = colored(tmp_path, night, colorizer=one)
    assert np.array_equal(auto, colored(tmp_path, night, colorizer=two, ignore_border=False))


@pytest.mark.usefixtures("backend")
def test_cut_from_a_letterboxed_scene_to_a_full_one(tmp_path: Path) -> None:
    first = letterbox(pan(12, (48, 128), seed=1, light=190))
    second = pan(12, HW, seed=7)
    ab = colored(tmp_path, [*first, *second])
    assert np.abs(ab[:12, :24]).max() < 1.5
    assert np.abs(ab[:12, -24:]).max() < 1.5
    alone = colored(tmp_path, second)
    assert np.array_equal(ab[12:], alone)
    again = colored(tmp_path, [*second, *first])
    assert np.array_equal(again[:12], alone)
    assert np.abs(again[12:, :24]).max() < 1.5


def test_preview_and_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "film.mkv", pillars(pan(10, HW)))
    for option in ("auto", False):
        frames = [
            color.astype(int)
            for _, _, color in preview(
                "film.mkv", 2, colorizer=FakeColorizer(), ignore_border=option
            )
        ]
        is_grey = np.ptp(np.array(frames)[:, :, :30], axis=3).max() <= 1
        assert is_grey == (option == "auto")
    with pytest.raises(OptionError, match="ignore_border must be"):
        next(preview("film.mkv", 2, colorizer=FakeColorizer(), ignore_border="no"))  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="ignore_border must be"):
        colorize_video("film.mkv", "no.mkv", ignore_border="no")  # type: ignore[arg-type]
    base = ["video", "--model", "lite", "--device", "cpu", "film.mkv", "--codec", "ffv1"]
    assert parser.main([*base, "-o", "auto.mkv"]) == 0
    assert parser.main([*base, "-o", "keep.mkv", "--keep-border-colors"]) == 0
    assert np.abs(ab_of(Path("auto.mkv"))[:, :, :32]).max() < 1.5
    assert not np.array_equal(ab_of(Path("auto.mkv")), ab_of(Path("keep.mkv")))


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("known", ["reference", "hints"])
def test_with_hints_and_references(tmp_path: Path, known: str) -> None:
    photo = Path(__file__).parents[2] / "examples" / "photos" / "tetons_1942.jpg"
    lite = Colorizer("lite", device="cpu")
    options: dict[str, Any] = {"colorizer": lite}
    steered: dict[str, Any] = {"hints": {0: [HINT]}}
    if known == "reference":
        steered = {"reference": lite.colorize(cv2.imread(str(photo), cv2.IMREAD_GRAYSCALE))}
    ab = colored(tmp_path, pillars(pan(4, HW)), **options, **steered)
    without = colored(tmp_path, pillars(pan(4, HW)), **options)
    assert not np.array_equal(ab, without)
    kept = colored(tmp_path, pillars(pan(4, HW)), **options, **steered, ignore_border=False)
    assert np.array_equal(ab, kept) == (known == "hints")  # hints are placed on the whole frame
    if known == "reference":
        assert np.abs(ab[:, :, :28]).max() == 0


class TestSceneBorder:
    """On lightness planes: an inside of 30..70, a border of 2."""

    def test_features_are_those_of_the_inside(self) -> None:
        """Each cell of the whole frame has the features of its place inside the border."""
        places = np.stack(np.meshgrid(*[np.arange(32, dtype=np.float32)] * 2), axis=2)
        network = FakeColorizer()
        border = SceneBorder(
            network.predict_ab,
            "auto",
            predict_features=lambda plane: Prediction(network.predict_ab(plane), places),
        )
        plane = self.plane(top=16)
        found = border.predict_features(plane, 0)
        rows, columns = self.inside(border)
        assert columns == slice(0, 64)
        height = rows.stop - rows.start
        for cell in range(32):
            row = ((cell + 0.5) * 2 - rows.start) / height * 32
            assert found.features[cell, 5, 1] == np.clip(np.floor(row), 0, 31)
        assert np.array_equal(found.features[0, :, 0], np.arange(32))
        assert np.array_equal(
            found.ab, SceneBorder(network.predict_ab, "auto").predict_ab(plane, 0)
        )
        whole = border.predict_features(self.plane(), 1)
        assert np.array_equal(whole.features, places)

    @staticmethod
    def plane(top: int = 0, left: int = 0, seed: int = 0) -> Float32:
        plane = np.clip(50 + 8 * texture(seed, (64, 64), 1)[..., 0], 20, 80).astype(np.float32)
        if top:
            plane[:top] = plane[64 - top :] = 2
        if left:
            plane[:, :left] = plane[:, 64 - left :] = 2
        return plane

    @staticmethod
    def inside(border: SceneBorder) -> tuple[slice, slice]:
        chroma = np.ones((64, 64, 2), np.float32)
        border.blank(chroma)
        rows, columns = np.flatnonzero(chroma.any((1, 2))), np.flatnonzero(chroma.any((0, 2)))
        assert chroma[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)

    def run(self, *planes: Float32, **options: Any) -> tuple[slice, slice]:
        options.setdefault("ignore_border", "auto")
        border = SceneBorder(FakeColorizer().predict_ab, **options)
        for plane in planes:
            border.predict_ab(plane, 0)
        return self.inside(border)

    WHOLE = (slice(0, 64), slice(0, 64))

    def test_inside_is_rounded_inwards(self) -> None:
        assert self.run(self.plane(top=10)) == (slice(11, 53), slice(0, 64))
        mixed = self.plane(top=10)
        mixed[10] = mixed[53] = 0.5 * (mixed[10] + 2)
        rows, _ = self.run(mixed)
        assert rows.start >= 11
        assert rows.stop <= 53

    def test_next_key_frame_makes_it_narrower_only(self) -> None:
        wide, narrow = self.plane(top=16), self.plane(top=8, seed=1)
        expected = (slice(9, 55), slice(0, 64))
        assert self.run(wide, narrow) == expected
        assert self.run(narrow, wide) == expected
        assert self.run(wide, self.plane()) == self.WHOLE
        assert self.run(self.plane(), wide) == self.WHOLE

    def test_faded_frames_decide_nothing(self) -> None:
        black = np.full((64, 64), 2, np.float32)
        assert self.run(black, black, self.plane(top=10)) == (slice(11, 53), slice(0, 64))
        held = self.run(self.plane(top=10), self.plane(top=10), black)
        assert held == (slice(11, 53), slice(0, 64))

    def test_held_under_subtitles_but_not_under_another_picture(self) -> None:
        boxed = self.plane(top=12)
        subtitled = boxed.copy()
        subtitled[55:60, 12:52:2] = 95
        held = self.run(boxed, boxed, subtitled)
        assert held == (slice(13, 51), slice(0, 64))
        assert self.run(boxed, boxed, self.plane(seed=2)) == self.WHOLE

    def test_next_scene_forgets(self) -> None:
        border = SceneBorder(FakeColorizer().predict_ab, "auto")
        border.predict_ab(self.plane(top=10), 0)
        border.predict_ab(np.full((64, 64), 2, np.float32), 1)
        assert self.inside(border) == self.WHOLE
        border.predict_ab(self.plane(left=9), 1)
        assert self.inside(border) == (slice(0, 64), slice(10, 54))

    def test_rules(self) -> None:
        one_sided = self.plane()
        one_sided[:, :12] = 40
        one_sided[:, 12:] += 20
        assert self.run(one_sided) == self.WHOLE
        assert self.run(one_sided, ignore_border=True) == (slice(0, 64), slice(13, 64))
        assert self.run(self.plane(top=10), ignore_border=False) == self.WHOLE

    def test_network_sees_the_inside_and_its_answer_lies_there(self) -> None:
        network = FakeColorizer()
        plane = self.plane(left=15)
        ab = SceneBorder(network.predict_ab, "auto").predict_ab(plane, 0)
        inside = plane[:, 16:48]
        expected = cv2.resize(inside, (64, 64), interpolation=cv2.INTER_LINEAR)
        np.testing.assert_allclose(network.seen[0], expected, atol=1e-4)
        truth = FakeColorizer().predict_ab(np.ascontiguousarray(plane))
        assert ab.shape == (16, 16, 2)
        assert np.abs(ab[:, 5:11] - truth[:, 5:11]).max() < 0.8
        np.testing.assert_allclose(ab[:, 0], ab[:, 3], atol=1e-4)  # the edge's colours go on
