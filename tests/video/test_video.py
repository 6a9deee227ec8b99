"""`colorize_frames`, `preview`, output files and worker threads, with either backend."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from colorcv import Colorizer, ImageError, OptionError, VideoError
from colorcv.color.yuv import LumaFormat, chroma_planes
from colorcv.frames import colorize_frames
from colorcv.video.api import colorize_video, default_output, has_pyav, preview
from colorcv.video.output import TemporaryOutput
from colorcv.video.workers import BoundedQueue, WorkerGroup
from tests.helpers.cv_clips import Bgr, count_frames, grey_frames, opencv_clip
from tests.helpers.films import FakeColorizer, texture

KILLS = int(os.environ.get("COLORCV_TEST_KILLS", "3"))


class Vivid(FakeColorizer):
    """A colorizer with a default saturation of 2."""

    default_saturation = 2.0


class TestFrames:
    def test_single_frames_equal_colorize(self) -> None:
        network = FakeColorizer()
        made = grey_frames(9)
        answers = list(colorize_frames(network, made, keyframe_interval=1, smooth=False))
        assert len(answers) == 9
        for answer, frame in zip(answers, made, strict=True):
            assert np.array_equal(answer, network.colorize(frame))

    def test_with_a_real_colorizer(self) -> None:
        colorizer = Colorizer("lite", device="cpu")
        made = grey_frames(3)
        answers = list(colorizer.frames(made, keyframe_interval=1, smooth=False))
        for answer, frame in zip(answers, made, strict=True):
            assert np.array_equal(answer, colorizer.colorize(frame))
        steady = list(colorizer.frames(made, hold_colors=False))
        assert np.array_equal(steady[0], answers[0])
        held = list(colorizer.frames(made))
        for found in (steady, held):
            assert np.abs(np.array(found, int) - np.array(answers)).mean() < 12

    @pytest.mark.parametrize("interval", [1, 3, 8])
    @pytest.mark.parametrize("count", [0, 1, 8, 9, 20])
    def test_number_and_order_of_frames(self, interval: int, count: int) -> None:
        made = grey_frames(count)
        answers = list(colorize_frames(FakeColorizer(), made, keyframe_interval=interval))
        assert len(answers) == count
        for answer, frame in zip(answers, made, strict=True):
            assert answer.shape == frame.shape
            off = cv2.cvtColor(answer, cv2.COLOR_BGR2LAB)[..., 0].astype(int)
            assert np.abs(off - cv2.cvtColor(frame, cv2.COLOR_BGR2LAB)[..., 0]).max() <= 3

    def test_default_saturation_of_the_colorizer(self) -> None:
        made = grey_frames(10)
        vivid = Vivid()
        twice = list(colorize_frames(FakeColorizer(), made, saturation=2))
        assert np.array_equal(list(colorize_frames(vivid, made)), twice)
        assert np.array_equal(list(colorize_frames(vivid, made, saturation=0.5)),
                              list(colorize_frames(FakeColorizer(), made)))  # fmt: skip

    def test_interval_1_returns_each_frame_at_once(self) -> None:
        asked: list[int] = []

        def camera() -> Iterator[Bgr]:
            for index, frame in enumerate(grey_frames(6)):
                asked.append(index)
                yield frame

        for index, _ in enumerate(colorize_frames(FakeColorizer(), camera(), keyframe_interval=1)):
            assert asked == list(range(index + 1))

    def test_source_may_reuse_its_buffer(self) -> None:
        made = grey_frames(12)
        buffer = np.empty_like(made[0])

        def camera() -> Iterator[Bgr]:
            for frame in made:
                buffer[:] = frame
                yield buffer

        again = list(colorize_frames(FakeColorizer(), camera()))
        assert np.array_equal(
            np.array(again), np.array(list(colorize_frames(FakeColorizer(), made)))
        )

    def test_grey_frames_and_other_dtypes(self) -> None:
        grey = [frame[..., 0] for frame in grey_frames(4)]
        assert next(colorize_frames(FakeColorizer(), grey)).shape == (48, 64, 3)
        deep = [frame.astype(np.uint16) * 257 for frame in grey]
        assert next(colorize_frames(FakeColorizer(), deep)).dtype == np.uint16

    def test_options_are_checked_before_the_first_frame(self) -> None:
        with pytest.raises(OptionError, match="saturation"):
            colorize_frames(FakeColorizer(), [], saturation=-1)
        with pytest.raises(OptionError, match="keyframe_interval"):
            colorize_frames(FakeColorizer(), [], keyframe_interval=0)

    def test_invalid_frame(self) -> None:
        with pytest.raises(ImageError):
            next(colorize_frames(FakeColorizer(), [None]))  # type: ignore[list-item]


@pytest.mark.parametrize("with_pyav", [True, False], ids=["pyav", "opencv"])
def test_default_saturation_applies_to_videos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_pyav: bool
) -> None:
    if with_pyav:
        pytest.importorskip("av")
    else:
        monkeypatch.setitem(sys.modules, "av", None)
    opencv_clip(tmp_path / "film.avi", 10)
    for name, network, saturation in (
        ("one.avi", FakeColorizer(), 1.0),
        ("two.avi", FakeColorizer(), 2.0),
        ("own.avi", Vivid(), 1.0),
    ):
        colorize_video(tmp_path / "film.avi", tmp_path / name, colorizer=network, codec="ffv1",
                       saturation=saturation)  # fmt: skip
    one, two, own = (read_frames(tmp_path / f"{name}.avi") for name in ("one", "two", "own"))
    assert np.array_equal(own, two)
    assert np.abs(own.astype(int) - one).mean() > 3


def read_frames(path: Path) -> Bgr:
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (answer := capture.read())[0]:
        frames.append(answer[1])
    assert len(frames) == 10
    return np.array(frames, np.uint8)


class TestPreview:
    def test_evenly_spaced_frames(self, tmp_path: Path) -> None:
        made = opencv_clip(tmp_path / "film.avi", 24)
        network = FakeColorizer()
        samples = list(preview(tmp_path / "film.avi", 3, colorizer=network))
        assert [round(time_s * 24) for time_s, _, _ in samples] == [4, 12, 20]
        for (_, frame, colored), index in zip(samples, (4, 12, 20), strict=True):
            assert np.abs(frame.astype(int) - made[index]).mean() < 4
            assert np.array_equal(colored, network.colorize(frame))

    def test_more_samples_than_frames(self, tmp_path: Path) -> None:
        opencv_clip(tmp_path / "film.avi", 3)
        assert len(list(preview(tmp_path / "film.avi", 10, colorizer=FakeColorizer()))) == 3

    def test_refusals(self, tmp_path: Path) -> None:
        (tmp_path / "film.avi").write_text("no film")
        with pytest.raises(VideoError, match=r"a video\?"):
            list(preview(tmp_path / "film.avi", 2, colorizer=FakeColorizer()))
        with pytest.raises(VideoError, match="no such file"):
            list(preview(tmp_path / "none.avi", 2, colorizer=FakeColorizer()))
        with pytest.raises(OptionError, match="0"):
            list(preview(tmp_path / "film.avi", 0, colorizer=FakeColorizer()))


class TestNames:
    @pytest.mark.parametrize(
        ("source", "output"),
        [
            ("a/film.mp4", "a/film.color.mp4"),
            ("film.old.MKV", "film.old.color.MKV"),
            ("film.avi", "film.color.avi"),
            ("film.wmv", "film.color.mp4"),
            ("film", "film.color.mp4"),
        ],
    )
    def test_default_output(self, source: str, output: str) -> None:
        assert default_output(source) == Path(output)

    def test_missing_source(self, tmp_path: Path) -> None:
        with pytest.raises(VideoError, match="no such file"):
            colorize_video(tmp_path / "none.mp4", colorizer=FakeColorizer())

    @pytest.mark.parametrize("source", [None, 3.5, b"film.mp4"])
    def test_invalid_source(self, source: object, tmp_path: Path) -> None:
        with pytest.raises(OptionError, match="expected a path"):
            colorize_video(source, tmp_path / "out.mp4", colorizer=FakeColorizer())

    def test_a_camera_needs_an_output(self) -> None:
        with pytest.raises(OptionError, match="output"):
            colorize_video(0, colorizer=FakeColorizer())


class TestTemporaryOutput:
    def test_stale_files_of_dead_processes_are_removed(self, tmp_path: Path) -> None:
        mine = TemporaryOutput(tmp_path / "film.mp4", overwrite=False)
        dead = subprocess.Popen([sys.executable, "-c", ""])
        dead.wait()
        pid = f"-{os.getpid()}."
        stale = tmp_path / mine.path.name.replace(pid, f"-{dead.pid}.")
        alive = tmp_path / mine.path.name.replace(pid, f"-{os.getppid()}.")
        elsewhere = tmp_path / f".film.colorcv-00000000-{dead.pid}.mp4"
        for path in (mine.path, stale, alive, elsewhere):
            path.write_text("half")
        other = TemporaryOutput(tmp_path / "other.mp4", overwrite=False)
        assert not stale.exists()
        assert mine.path.exists()
        assert alive.exists()
        assert elsewhere.exists()  # another machine's, whose processes cannot be seen
        mine.discard()
        other.discard()
        assert not mine.path.exists()

    def test_the_same_output_twice_at_once(self, tmp_path: Path) -> None:
        first = TemporaryOutput(tmp_path / "film.mp4", overwrite=True)
        with pytest.raises(VideoError, match="being written"):
            TemporaryOutput(tmp_path / "film.mp4", overwrite=True)
        first.discard()
        TemporaryOutput(tmp_path / "film.mp4", overwrite=True).discard()


WORK = """
import sys, time, resource, signal
from colorcv.video import colorize_video
from tests.helpers.films import FakeColorizer
if len(sys.argv) > 3:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
print("go", flush=True)
colorize_video(sys.argv[1], sys.argv[2], colorizer=FakeColorizer())
print("done", flush=True)
"""


def work(*arguments: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(
        [sys.executable, "-c", WORK, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",  # OpenCV may put bytes of a broken file into its message
        env=environment,
    )


@pytest.mark.skipif(os.name == "nt", reason="signals and limits of POSIX")
class TestOutputIsCompleteOrAbsent:
    def test_killed_at_a_random_time(self, tmp_path: Path) -> None:
        source, output = tmp_path / "film.avi", tmp_path / "out.avi"
        opencv_clip(source, 300)
        dice = random.Random(os.environ.get("COLORCV_TEST_SEED", "1"))
        for _ in range(KILLS):
            process = work(source, output)
            assert process.stdout is not None
            assert process.stdout.readline() == "go\n"
            time.sleep(dice.uniform(0, 1.2))
            process.kill()
            process.communicate()
            if output.exists():
                assert count_frames(output) == 300
                output.unlink()
        process = work(source, output)
        assert process.communicate()[0] == "go\ndone\n"
        assert count_frames(output) == 300
        assert sorted(p.name for p in tmp_path.iterdir()) == ["film.avi", "out.avi"]

    def test_ctrl_c(self, tmp_path: Path) -> None:
        opencv_clip(tmp_path / "film.avi", 300)
        process = work(tmp_path / "film.avi", tmp_path / "out.avi")
        assert process.stdout is not None
        process.stdout.readline()
        for _ in range(500):
            if any(".colorcv-" in p.name for p in tmp_path.iterdir()):
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
        assert "KeyboardInterrupt" in errors
        assert [p.name for p in tmp_path.iterdir()] == ["film.avi"]

    @pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
    def test_full_disk(self, tmp_path: Path, suffix: str) -> None:
        opencv_clip(tmp_path / "film.avi", 100, (96, 128))
        process = work(tmp_path / "film.avi", tmp_path / f"out{suffix}", 4_000)
        out, errors = process.communicate(timeout=60)
        assert out == "go\n"
        assert "VideoError" in errors
        assert "disk" in errors.splitlines()[-1]
        assert [p.name for p in tmp_path.iterdir()] == ["film.avi"]


class TestWorkerGroup:
    def test_first_error_is_raised_and_threads_end(self) -> None:
        def fail() -> None:
            raise ValueError("first")

        def work() -> None:
            with WorkerGroup() as group:
                queue: BoundedQueue[int] = group.queue(1)
                group.start(lambda: [queue.put(i) for i in range(9)] and None, "feeds")
                group.start(fail, "fails")
                for _ in queue:
                    time.sleep(0.01)

        with pytest.raises(ValueError, match="first"):
            work()
        assert not [t for t in threading.enumerate() if t.name.startswith("colorcv-video")]

    def test_ctrl_c_while_joining_threads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        join, calls = threading.Thread.join, []

        def interrupted(self: threading.Thread, timeout: float | None = None) -> None:
            calls.append(timeout)
            if len(calls) == 1:
                raise KeyboardInterrupt
            join(self, timeout)

        def work() -> None:
            with WorkerGroup() as group:
                queue: BoundedQueue[int] = group.queue(1)
                group.start(lambda: [None for _ in queue] and None, "waits")
                monkeypatch.setattr(threading.Thread, "join", interrupted)

        with pytest.raises(KeyboardInterrupt):
            work()
        assert not [t for t in threading.enumerate() if t.name.startswith("colorcv-video")]


class TestChromaPlanes:
    def test_10_bits_equal_8_bits(self) -> None:
        luma = grey_frames(1)[0][..., 0]
        chroma = 20 * texture(3, (16, 16), 2, detail=4)
        lightness = LumaFormat(8, False, 1).lightness_at(luma, (16, 16))
        eight = chroma_planes(luma, chroma, lightness, LumaFormat(8, False, 1))
        deep = luma.astype(np.uint16) * 4
        ten = chroma_planes(deep, chroma, lightness, LumaFormat(10, False, 1))
        for u8, u10 in zip(eight, ten, strict=True):
            assert u8.dtype == np.uint8
            assert u10.dtype == np.uint16
            assert np.abs(u10 / 4 - u8).max() < 2

    def test_black_and_white_stay_neutral(self) -> None:
        chroma = np.full((8, 8, 2), 50, np.float32)
        for level in (0, 16, 235, 255):
            luma = np.full((16, 16), level, np.uint8)
            luma_format = LumaFormat(8, False, 1)
            lightness = luma_format.lightness_at(luma, (8, 8))
            u, v = chroma_planes(luma, chroma, lightness, luma_format)
            assert np.abs(u.astype(int) - 128).max() <= 1
            assert np.abs(v.astype(int) - 128).max() <= 1


def test_has_pyav_without_pyav(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    assert has_pyav() is False


def test_old_pyav_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("av")
    opencv_clip(tmp_path / "film.avi", 3)
    monkeypatch.setattr("importlib.metadata.version", lambda name: {"av": "14.0.1"}[name])
    with pytest.raises(VideoError, match=r"PyAV 14\.0\.1 is too old; .*pip install"):
        colorize_video(tmp_path / "film.avi", colorizer=FakeColorizer())
    assert [p.name for p in tmp_path.iterdir()] == ["film.avi"]


def test_result_is_frozen(tmp_path: Path) -> None:
    opencv_clip(tmp_path / "film.avi", 3)
    result: Any = colorize_video(tmp_path / "film.avi", colorizer=FakeColorizer())
    assert (result.frames, result.fps, result.duration_s) == (3, 24.0, pytest.approx(0.125))
    assert result.seconds > 0
    assert result.frames_per_second == pytest.approx(3 / result.seconds)
    with pytest.raises(AttributeError):
        result.frames = 4


@pytest.mark.parametrize("what", ["folder", "name"])
def test_output_that_cannot_be_finished_is_noticed_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr("colorcv.video.api.CHECK_INTERVAL_S", 0.0)
    opencv_clip(tmp_path / "film.avi", 100)
    folder = tmp_path / "results"
    folder.mkdir()
    seen = 0

    def progress(done: int, total: int | None) -> None:
        nonlocal seen
        seen = done
        if done == 3 and what == "folder":
            shutil.rmtree(folder)
        elif done == 3:
            (folder / "out.avi").write_text("mine")

    with pytest.raises(VideoError, match="removed" if what == "folder" else "in the meantime"):
        colorize_video(
            tmp_path / "film.avi", folder / "out.avi", colorizer=FakeColorizer(), progress=progress
        )
    assert seen == 3
    if what == "name":
        assert [(path.name, path.read_text()) for path in folder.iterdir()] == [("out.avi", "mine")]


def test_output_that_another_process_writes(tmp_path: Path) -> None:
    opencv_clip(tmp_path / "film.avi", 300)
    other = work(tmp_path / "film.avi", tmp_path / "out.avi")
    assert other.stdout is not None
    other.stdout.readline()
    while not any(".colorcv-" in path.name for path in tmp_path.iterdir()):
        time.sleep(0.01)
    try:
        with pytest.raises(VideoError, match=rf"being written by process {other.pid}"):
            colorize_video(tmp_path / "film.avi", tmp_path / "out.avi", colorizer=FakeColorizer())
    finally:
        other.kill()
        other.communicate()
