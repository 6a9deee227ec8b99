"""Hints and references of videos, through the small network, with either backend."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from colorcv import Colorizer, Hint, ImageError, OptionError
from colorcv.color.lab import ab_from_bgr
from colorcv.frames import predict_chroma
from colorcv.steering.editing import Reference, SteeredImage
from colorcv.steering.kernel import SCENE_KERNEL
from colorcv.steering.regression import Regression
from colorcv.video.api import colorize_video, preview
from colorcv.video.steering import VideoSteering, _frames_at
from tests.helpers.cv_clips import Bgr, Capture, grey_frames
from tests.helpers.films import FakeColorizer, texture

HW = (96, 128)
FRAMES, CUT, RATE = 40, 24, 24


@pytest.fixture(scope="module")
def lite() -> Colorizer:
    return Colorizer("lite", device="cpu")


@pytest.fixture(params=[True, False], ids=["pyav", "opencv"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    if request.param:
        pytest.importorskip("av")
    else:
        monkeypatch.setitem(sys.modules, "av", None)
    return bool(request.param)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bright disc that moves over a dark texture, a cut, and the same in another place."""
    path = tmp_path_factory.mktemp("film") / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), RATE, HW[::-1])
    assert writer.isOpened()
    for index in range(FRAMES):
        frame = picture(index)
        writer.write(frame)
    writer.release()
    return path


def center(index: int) -> tuple[int, int]:
    return (30 + 2 * index, 40) if index < CUT else (90, 30 + index - CUT)


def picture(index: int) -> Bgr:
    wide = texture(3 if index < CUT else 11, (HW[0], HW[1] + FRAMES), 1, 6)[..., 0]
    base, sign = (70, 1) if index < CUT else (150, -1)
    grey = base + 14 * wide[:, index : index + HW[1]]
    cv2.circle(grey, center(index), 22, base + sign * 95, -1)
    return np.dstack([np.clip(grey, 0, 255).astype(np.uint8)] * 3)


def colored(film: Path, tmp_path: Path, lite: Colorizer, **options: Any) -> np.ndarray[Any, Any]:
    """Return the ab of all frames of a coloured video, written without loss."""
    target = tmp_path / "out.mkv"
    if sys.modules.get("av", 0) is None:
        target = tmp_path / "out.avi"
    result = colorize_video(film, target, colorizer=lite, codec="ffv1", overwrite=True, **options)
    capture, frames = cv2.VideoCapture(str(result.path)), []
    while True:
        ok, frame = capture.read()
        if not ok:
            break
        frames.append(ab_from_bgr(frame.astype(np.float32) / 255))
    start = options.get("start") or 0
    assert len(frames) == FRAMES - round(start * RATE)
    if not start:
        assert result.cut_frames == (CUT,)
    return np.array(frames)


def in_disc(ab: np.ndarray[Any, Any], index: int, radius: int = 12) -> np.ndarray[Any, Any]:
    x, y = center(index)
    rows, columns = np.indices(HW)
    inside = (columns - x) ** 2 + (rows - y) ** 2 <= radius**2
    return np.asarray(ab[inside].mean(axis=0))


@pytest.mark.parametrize("time_s", [0.0, 0.5], ids=["first", "middle"])
@pytest.mark.usefixtures("backend")
def test_hints_hold_for_their_scene_only(
    film: Path, tmp_path: Path, lite: Colorizer, time_s: float
) -> None:
    x, y = center(round(time_s * RATE))
    plain = colored(film, tmp_path, lite)
    found = colored(film, tmp_path, lite, hints={time_s: [Hint(x, y, "#20a040", radius=8)]})
    wanted = ab_from_bgr(np.array([[0x40, 0xA0, 0x20]], np.float32) / 255)[0]
    for index in range(CUT):
        before = np.linalg.norm(in_disc(plain[index], index) - wanted)
        after = np.linalg.norm(in_disc(found[index], index) - wanted)
        assert after < 0.4 * before, index
    assert np.array_equal(found[CUT:], plain[CUT:])


@pytest.mark.usefixtures("backend")
def test_time_of_hints_counts_from_the_start_of_the_video(
    film: Path, tmp_path: Path, lite: Colorizer
) -> None:
    """The same frame has the same hints, wherever the part that is coloured begins."""
    x, y = center(12)
    hints = {12 / RATE: [Hint(x, y, "#20a040", radius=8)]}
    part = colored(film, tmp_path, lite, hints=hints, start=9 / RATE)
    plain = colored(film, tmp_path, lite, start=9 / RATE)
    wanted = ab_from_bgr(np.array([[0x40, 0xA0, 0x20]], np.float32) / 255)[0]
    after = np.linalg.norm(in_disc(part[3], 12) - wanted)
    assert after < 0.4 * np.linalg.norm(in_disc(plain[3], 12) - wanted)
    for time_s in (8 / RATE, 0.0):
        with pytest.raises(OptionError, match="before the first frame that is coloured"):
            colored(film, tmp_path, lite, hints={time_s: hints[12 / RATE]}, start=9 / RATE)


@pytest.mark.usefixtures("backend")
def test_strokes_equal_hints_and_need_the_shape_of_the_frame(
    film: Path, tmp_path: Path, lite: Colorizer
) -> None:
    x, y = center(30)
    strokes = np.zeros((*HW, 4), np.uint8)
    cv2.circle(strokes, (x, y), 9, (0x40, 0xA0, 0x20, 255), -1)
    cv2.imwrite(str(tmp_path / "strokes.png"), strokes)
    painted = colored(film, tmp_path, lite, hints={30 / RATE: str(tmp_path / "strokes.png")})
    hinted = colored(film, tmp_path, lite, hints={30 / RATE: [Hint(x, y, "#20a040", radius=9)]})
    plain = colored(film, tmp_path, lite)
    assert np.array_equal(painted[:CUT], plain[:CUT])
    assert (
        np.abs(painted[CUT:] - hinted[CUT:]).mean()
        < 0.1 * np.abs(plain[CUT:] - hinted[CUT:]).mean()
    )
    with pytest.raises(ImageError, match="128x96"):
        colored(film, tmp_path, lite, hints={0: strokes[:, :90]})
    with pytest.raises(ImageError, match="outside of the image"):
        colored(film, tmp_path, lite, hints={0: [Hint(128, 5, "red")]})
    assert not list(tmp_path.glob(".*")), "no temporary file is left"


@pytest.mark.usefixtures("backend")
def test_time_after_the_end(film: Path, tmp_path: Path, lite: Colorizer) -> None:
    hints = [Hint(5, 5, "red")]
    last_s = (FRAMES - 1) / RATE
    assert not np.array_equal(
        colored(film, tmp_path, lite, hints={last_s: hints}), colored(film, tmp_path, lite)
    )
    with pytest.raises(OptionError, match=r"2 s are after the last frame .* 1\.6"):
        colored(film, tmp_path, lite, hints={0: hints, 2: hints})
    assert not list(tmp_path.glob(".*"))


@pytest.mark.usefixtures("backend")
def test_reference_is_a_coloured_frame(film: Path, tmp_path: Path, lite: Colorizer) -> None:
    """A frame in which the disc is red makes the disc redder in all frames."""
    still = picture(0)
    red = np.zeros_like(still)
    cv2.circle(red, center(0), 22, (40, 40, 220), -1)
    still = np.where(red.any(axis=2, keepdims=True), red, still)
    plain = colored(film, tmp_path, lite)
    full = colored(film, tmp_path, lite, reference=still)
    half = colored(film, tmp_path, lite, reference=still, reference_strength=0.5)
    for index in range(CUT):
        low, middle, high = (in_disc(ab[index], index)[0] for ab in (plain, half, full))
        assert low + 5 < middle < high - 5
    none = colored(film, tmp_path, lite, reference=still, reference_strength=0)
    assert np.array_equal(none, plain)
    prepared = Reference(lite, [still])
    assert np.array_equal(colored(film, tmp_path, lite, reference=prepared), full)


def test_hints_equal_to_the_guess_change_nothing(lite: Colorizer) -> None:
    """Through the frame's own regression, so that rounding of colours does not matter."""
    lightness = np.full(lite.input_hw, 50, np.float32)
    steering = VideoSteering(lite, None, None, 1.0)
    plain = predict_chroma(lite, lightness)
    assert np.array_equal(steering.predict_chroma(lightness, 0), plain)
    known = SteeredImage(lite, lightness)
    steering._regressions[1] = Regression(
        known.places.take(slice(0, 5)), np.zeros((5, 2), np.float32), SCENE_KERNEL
    )
    assert np.array_equal(steering.predict_chroma(lightness, 1), plain)


def test_what_cannot_be_used_is_refused(film: Path, tmp_path: Path, lite: Colorizer) -> None:
    target = tmp_path / "out.avi"
    hint = [Hint(1, 1, "red")]
    invalid: list[Any] = [hint, {-1: hint}, {float("nan"): hint}, {"1": hint}, {0: hint[0]}]
    for hints in invalid:
        with pytest.raises(OptionError, match=r"hints"):
            colorize_video(film, target, colorizer=lite, hints=hints)
    with pytest.raises(ImageError, match="is grey"):
        colorize_video(film, target, colorizer=lite, reference=grey_frames(1)[0])
    with pytest.raises(OptionError, match="reference_strength"):
        colorize_video(film, target, colorizer=lite, reference_strength=2)
    with pytest.raises(OptionError, match="cannot be read twice"):
        colorize_video(Capture(list(grey_frames(3))), target, colorizer=lite, hints={0: hint})
    with pytest.raises(OptionError, match=r"need a colorcv\.Colorizer, got FakeColorizer"):
        colorize_video(film, target, colorizer=FakeColorizer(), hints={0: hint})
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("backend")
def test_preview_takes_references(film: Path, lite: Colorizer) -> None:
    still = picture(0)
    still[..., 2] = 255
    for _, frame, answer in preview(film, 2, colorizer=lite, reference=still):
        assert np.array_equal(answer, lite.colorize(frame, reference=still))
        assert not np.array_equal(answer, lite.colorize(frame))


class FakeReader:
    """Frames at given times, all alike but for those after a cut."""

    rate = 10

    def __init__(self, times_s: list[float], cut: int) -> None:
        views = [level + 8 * texture(level, (64, 64), 1)[..., 0] for level in (35, 65)]
        self.frames = [
            SimpleNamespace(time_s=time_s, lightness=views[index >= cut] + np.float32(index / 100))
            for index, time_s in enumerate(times_s)
        ]
        self.passed = 0

    def read(self, on_frame: Any, on_packet: Any) -> None:
        for frame in self.frames:
            self.passed += 1
            on_frame(frame)


@pytest.mark.parametrize(
    ("time_s", "index"),
    [(1.0, 0), (1.0995, 1), (1.0985, 0), (1.15, 1), (1.3, 2), (1.5, 3), (1.59, 3)],
)
def test_frame_that_is_shown_at_a_time(time_s: float, index: int) -> None:
    """From its own time, less a millisecond, until that of the next, at any frame rate."""
    reader: Any = FakeReader([1.0, 1.1, 1.3, 1.5], cut=2)
    scene, lightness = _frames_at(reader, [time_s])[time_s]
    assert lightness is reader.frames[index].lightness
    assert scene == (index >= 2)
    assert reader.passed == min(index + 2, 4), "no frame is read in vain"


@pytest.mark.parametrize("time_s", [0.998, 1.602])
def test_no_frame_is_shown_outside_of_the_video(time_s: float) -> None:
    reader: Any = FakeReader([1.0, 1.1, 1.3, 1.5], cut=2)
    with pytest.raises(OptionError, match=f"hints at {time_s:g} s are "):
        _frames_at(reader, [1.1, time_s] if time_s > 1 else [time_s, 1.1])


@pytest.mark.parametrize(("suffix", "start_s"), [(".mp4", 0.0), (".ts", 100.0)])
def test_places_and_times_are_those_of_players(
    tmp_path: Path, lite: Colorizer, suffix: str, start_s: float
) -> None:
    """Upright pixels of a video that is stored turned, and seconds from the start of the file."""
    pytest.importorskip("av")
    from tests.helpers.clips import make_clip

    source = tmp_path / f"film{suffix}"
    rotation = 90 if suffix == ".mp4" else None
    make_clip(source, frames=12, size_wh=(96, 64), rotation=rotation, start_s=start_s)
    size = (64, 96) if rotation else (96, 64)
    inside = {0.2: [Hint(size[0] - 1, size[1] - 1, "red")]}
    target = tmp_path / "out.mkv"
    colorize_video(source, target, colorizer=lite, hints=inside)
    for outside in ({0.2: [Hint(size[0], 0, "red")]}, {0.2: [Hint(0, size[1], "red")]}):
        with pytest.raises(ImageError, match=f"{size[0]}x{size[1]}"):
            colorize_video(source, target, colorizer=lite, hints=outside, overwrite=True)
    with pytest.raises(OptionError, match="after the last frame"):
        colorize_video(source, target, colorizer=lite, hints={1: inside[0.2]}, overwrite=True)


@pytest.mark.usefixtures("backend")
def test_borders_of_other_scenes_are_left_out_as_without_hints(
    tmp_path: Path, lite: Colorizer
) -> None:
    """Only hinted scenes are shown whole to the network."""
    path = tmp_path / "letterbox.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), RATE, HW[::-1])
    for index in range(FRAMES):
        frame = picture(index)
        if index >= CUT:
            frame[:14] = frame[-14:] = 0
        writer.write(frame)
    writer.release()
    plain = colored(path, tmp_path, lite)
    whole = colored(path, tmp_path, lite, ignore_border=False)
    assert not np.array_equal(plain[CUT:], whole[CUT:]), "there is a border to be left out"
    x, y = center(3)
    found = colored(path, tmp_path, lite, hints={3 / RATE: [Hint(x, y, "#20a040", radius=8)]})
    assert np.array_equal(found[CUT:], plain[CUT:])
    wanted = ab_from_bgr(np.array([[0x40, 0xA0, 0x20]], np.float32) / 255)[0]
    after = np.linalg.norm(in_disc(found[3], 3) - wanted)
    assert after < 0.4 * np.linalg.norm(in_disc(plain[3], 3) - wanted)


@pytest.mark.parametrize("time_s", [0.0, 0.5], ids=["first", "middle"])
def test_hints_win_over_held_colours(
    film: Path, tmp_path: Path, lite: Colorizer, time_s: float
) -> None:
    """What is hinted is as near to the hint as without `hold_colors`; what is not is steadier."""
    pytest.importorskip("av")
    hints = {time_s: [Hint(*center(round(time_s * RATE)), "#20a040", radius=8)]}
    wanted = ab_from_bgr(np.array([[0x40, 0xA0, 0x20]], np.float32) / 255)[0]
    held, smoothed = (
        colored(film, tmp_path, lite, hints=hints, hold_colors=hold) for hold in (True, False)
    )
    for index in range(CUT):
        distances = [np.linalg.norm(in_disc(ab[index], index) - wanted) for ab in (held, smoothed)]
        assert distances[0] < distances[1] + 2, index
    assert not np.array_equal(held, smoothed)


def test_references_with_held_colours(film: Path, tmp_path: Path, lite: Colorizer) -> None:
    pytest.importorskip("av")
    frame = picture(4)
    frame[..., 2] = np.minimum(frame[..., 2], 255 - 60) + 60  # reddish
    plain, held = (
        colored(film, tmp_path, lite, reference=reference)[:CUT].mean(axis=(0, 1, 2))
        for reference in (None, frame)
    )
    assert held[0] > plain[0] + 8
