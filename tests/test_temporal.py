"""Propagated chroma against the true chroma of known videos and against simpler methods."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from colorcv.errors import OptionError
from colorcv.temporal import ChromaPropagator, is_cut
from tests.helpers import films
from tests.helpers.films import Float32

REAL_VIDEOS = {"bbb480p_cuts_audio.mp4": (45, 138), "intel_person_15s.mp4": ()}


def propagate(
    lightness: list[Float32], ab: list[Float32], **options: object
) -> tuple[list[Float32], ChromaPropagator]:
    propagator = ChromaPropagator(films.exact_network(lightness, ab), **options)  # type: ignore[arg-type]
    results = list(propagator.propagate(enumerate(lightness)))
    assert [tag for tag, _, _ in results] == list(range(len(lightness)))
    assert all(mine is theirs for (_, mine, _), theirs in zip(results, lightness, strict=True))
    return [chroma for _, _, chroma in results], propagator


def hold(lightness: list[Float32], ab: list[Float32], index: int, left: int, right: int) -> Float32:
    return ab[left]


def blend(
    lightness: list[Float32], ab: list[Float32], index: int, left: int, right: int
) -> Float32:
    share = np.float32((index - left) / (right - left))
    return ab[left] * (1 - share) + ab[right] * share


def one_way(
    lightness: list[Float32], ab: list[Float32], index: int, left: int, right: int
) -> Float32:
    return films.warp(ab[left], lightness[index], lightness[left])


class TestCuts:
    @staticmethod
    def scenes() -> tuple[list[Float32], list[Float32]]:
        return films.panning_scene(12, seed=0)[0], films.panning_scene(12, seed=40)[0]

    def test_hard_cut(self) -> None:
        first, second = self.scenes()
        assert is_cut(first[-1], second[0])
        assert not any(is_cut(a, b) for a, b in pairwise(first))

    @pytest.mark.parametrize("light", [25, 60, 100], ids=["bright", "glaring", "all white"])
    def test_flash_is_not_a_cut(self, light: int) -> None:
        frame = self.scenes()[0][0]
        flash = np.clip(frame + np.float32(light), 0, 100)
        assert not is_cut(frame, flash)
        assert not is_cut(flash, frame)

    def test_fade_is_not_a_cut(self) -> None:
        first, second = self.scenes()
        down = [frame * np.float32(1 - i / 11) for i, frame in enumerate(first)]
        up = [frame * np.float32(i / 11) for i, frame in enumerate(second)]
        video = [*down, *up]
        assert not any(is_cut(a, b) for a, b in pairwise(video))

    def test_dissolve_is_not_a_cut(self) -> None:
        first, second = self.scenes()
        video = [
            a * np.float32(1 - i / 11) + b * np.float32(i / 11)
            for i, (a, b) in enumerate(zip(first, second, strict=True))
        ]
        assert not any(is_cut(a, b) for a, b in pairwise(video))

    def test_cut_between_dark_scenes(self) -> None:
        first, second = self.scenes()
        assert is_cut(first[-1] * np.float32(0.6), second[0] * np.float32(0.6))

    @pytest.mark.parametrize(("name", "cuts"), REAL_VIDEOS.items(), ids=REAL_VIDEOS)
    def test_real_videos(self, shared: Path, name: str, cuts: tuple[int, ...]) -> None:
        lightness, _ = films.read_film(str(shared / "clips" / name))
        found = [i for i in range(1, len(lightness)) if is_cut(lightness[i - 1], lightness[i])]
        assert tuple(found) == cuts


class TestExactness:
    def test_interval_1_without_smoothing_is_the_network_alone(self) -> None:
        lightness, ab = films.panning_scene(9)
        results, propagator = propagate(lightness, ab, keyframe_interval=1, smooth=False)
        assert all(np.array_equal(a, b) for a, b in zip(results, ab, strict=True))
        assert propagator.network_runs == 9

    @pytest.mark.parametrize("frames", [0, 1, 2, 7, 8, 9, 16, 17, 20])
    @pytest.mark.parametrize("interval", [1, 2, 8])
    def test_every_frame_is_yielded_once_in_order(self, frames: int, interval: int) -> None:
        lightness, ab = films.panning_scene(frames)
        results, propagator = propagate(lightness, ab, keyframe_interval=interval)
        assert len(results) == frames
        whole, rest = divmod(max(frames - 1, 0), interval)
        assert propagator.network_runs == (frames > 0) + whole + (rest > 0)

    def test_without_smoothing_key_frames_keep_their_prediction(self) -> None:
        lightness, ab = films.panning_scene(17)
        results, _ = propagate(lightness, ab, keyframe_interval=8, smooth=False)
        assert all(np.array_equal(results[k], ab[k]) for k in (0, 8, 16))

    def test_a_still_image_keeps_its_colours(self) -> None:
        lightness, ab = films.panning_scene(1)
        results, _ = propagate([plane.copy() for plane in lightness * 20], ab * 20)
        assert np.abs(np.array(results) - ab[0]).max() < 1e-3

    def test_other_sizes_and_ratios(self) -> None:
        lightness, _ = films.panning_scene(10)
        small = [plane[:96, :64].copy() for plane in lightness]
        ab = [np.full((24, 16, 2), 7, np.float32)] * 10
        results, _ = propagate(small, ab)
        assert all(answer.shape == (24, 16, 2) for answer in results)
        assert np.allclose(results, 7, atol=1e-4)

    @pytest.mark.parametrize("value", [0, -1, 2.5, "8", True, None])
    def test_interval_is_checked(self, value: object) -> None:
        with pytest.raises(OptionError, match="keyframe_interval"):
            ChromaPropagator(lambda plane: plane, keyframe_interval=value)  # type: ignore[arg-type]


class TestDelay:
    @pytest.mark.parametrize("interval", [1, 4, 8])
    def test_look_ahead_is_at_most_the_interval(self, interval: int) -> None:
        lightness, ab = films.panning_scene(40)
        read = 0

        def source() -> object:
            nonlocal read
            for plane in lightness:
                read += 1
                yield None, plane

        propagator = ChromaPropagator(
            films.exact_network(lightness, ab), keyframe_interval=interval
        )
        for yielded, _ in enumerate(propagator.propagate(source())):  # type: ignore[arg-type]
            assert read - yielded - 1 <= (interval - 1 if interval == 1 else interval)


class TestScenes:
    def test_nothing_crosses_a_cut(self) -> None:
        first, _ = films.panning_scene(13, seed=0)
        second, _ = films.panning_scene(13, seed=40)
        red = [np.full((56, 56, 2), (60, 40), np.float32)] * 13
        blue = [np.full((56, 56, 2), (0, -60), np.float32)] * 13
        results, propagator = propagate([*first, *second], [*red, *blue])
        assert propagator.cut_frames == [13]
        assert np.allclose(results[:13], (60, 40), atol=1e-3)
        assert np.allclose(results[13:], (0, -60), atol=1e-3)

    def test_scene_of_every_key_frame(self) -> None:
        """Also of those that are predicted after the cut has been seen."""
        lightness = [plane for seed in (0, 40, 80) for plane in films.panning_scene(11, seed)[0]]
        scene_of = {id(plane): index // 11 for index, plane in enumerate(lightness)}
        asked: list[tuple[int, int]] = []

        def predict_ab(plane: Float32) -> Float32:
            asked.append((scene_of[id(plane)], propagator.scene))
            return np.zeros((56, 56, 2), np.float32)

        propagator = ChromaPropagator(predict_ab, keyframe_interval=4)
        assert len(list(propagator.propagate(enumerate(lightness)))) == 33
        assert propagator.cut_frames == [11, 22]
        assert len(asked) >= 12
        assert all(expected == told for expected, told in asked)

    def test_a_frame_unlike_both_key_frames_becomes_a_key_frame(self) -> None:
        lightness, ab = films.panning_scene(9, seed=0, speed=0)
        # Half of the frame is covered for three frames between two key frames: new, but not a cut.
        other, other_ab = films.panning_scene(1, seed=40)
        for i in (3, 4, 5):
            lightness[i] = np.where(np.arange(224)[:, None] < 112, other[0], lightness[i])
            ab[i] = np.where(np.arange(56)[:, None, None] < 28, other_ab[0], ab[i])
        results, propagator = propagate(lightness, ab, smooth=False)
        assert propagator.cut_frames == []
        assert 3 <= propagator.network_runs <= 5
        for i in (3, 4, 5):
            assert np.abs(results[i] - ab[i]).mean() < 2

    def test_smoothing_does_not_carry_colour_to_another_object(self) -> None:
        lightness, ab = films.panning_scene(9, speed=0)
        other, _ = films.panning_scene(1, seed=40)
        covered = np.arange(224)[:, None] < 100
        lightness[8] = np.where(covered, other[0], lightness[8])
        ab = [np.full((56, 56, 2), 30, np.float32)] * 8 + [np.full((56, 56, 2), -30, np.float32)]
        results, _ = propagate(lightness, ab)
        new, old = results[8][:20].mean(), results[8][30:].mean()
        assert new < -20
        assert -5 < old < 5  # what stayed in view is the mean of its two predictions


class TestQuality:
    def test_beats_simpler_methods_on_a_pan(self) -> None:
        lightness, ab = films.panning_scene(33, speed=1.0)
        self.compare(lightness, ab, cuts=())

    @pytest.mark.parametrize(("name", "cuts"), REAL_VIDEOS.items(), ids=REAL_VIDEOS)
    def test_real_videos_reach_46_db(self, shared: Path, name: str, cuts: tuple[int, ...]) -> None:
        lightness, ab = films.read_film(str(shared / "clips" / name))
        assert self.compare(lightness, ab, cuts) >= 46

    @staticmethod
    def compare(lightness: list[Float32], ab: list[Float32], cuts: tuple[int, ...]) -> float:
        results, _ = propagate(lightness, ab, keyframe_interval=8)
        between = []
        for start, stop in zip((0, *cuts), (*cuts, len(ab)), strict=True):
            for left in range(start, stop - 8, 8):
                between += [(index, left, left + 8) for index in range(left + 1, left + 8)]
        truth = [ab[index] for index, _, _ in between]
        mine = films.psnr([results[index] for index, _, _ in between], truth)
        for method in (hold, blend, one_way):
            assert mine > films.psnr([method(lightness, ab, *frames) for frames in between], truth)
        return mine

    def test_smoothing_reduces_flicker_of_a_pan_tenfold(self) -> None:
        lightness, ab = films.panning_scene(41, speed=0.25)
        self.check_flicker(lightness, ab, cuts=())

    @pytest.mark.parametrize(("name", "cuts"), REAL_VIDEOS.items(), ids=REAL_VIDEOS)
    def test_smoothing_reduces_flicker_of_real_videos_tenfold(
        self, shared: Path, name: str, cuts: tuple[int, ...]
    ) -> None:
        lightness, ab = films.read_film(str(shared / "clips" / name))
        self.check_flicker(lightness, ab, cuts)

    @staticmethod
    def check_flicker(lightness: list[Float32], ab: list[Float32], cuts: tuple[int, ...]) -> None:
        noisy = films.flicker(ab)
        results, _ = propagate(lightness, noisy, keyframe_interval=8)
        before = films.warp_error(lightness, noisy, cuts)
        assert films.warp_error(lightness, results, cuts) * 10 < before
        assert (
            films.psnr(results, ab) > films.psnr(noisy, ab) + 2
        )  # less flicker, and nearer to the truth

    def test_smoothing_with_interval_1_reduces_flicker(self) -> None:
        lightness, ab = films.panning_scene(33, speed=0.5)
        noisy = films.flicker(ab)
        results, _ = propagate(lightness, noisy, keyframe_interval=1)
        raw = films.warp_error(lightness, noisy)
        assert films.warp_error(lightness, results) * 3 < raw
