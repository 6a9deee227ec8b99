"""The subcommand ``video``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from colorcv import video
from colorcv.cli import parser, progress
from colorcv.video import api
from colorcv.video.steering import VideoSteering
from tests.cli.test_console import fake_terminal


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder of the command, with a short grey video in it."""
    monkeypatch.chdir(tmp_path)
    make_video(tmp_path / "film.mp4")
    return tmp_path


def make_video(path: Path, frames: int = 12) -> None:
    grey = np.random.default_rng(3).integers(40, 216, (12, 16), np.uint8)
    image = cv2.resize(grey, (256, 160), interpolation=cv2.INTER_CUBIC)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, (160, 120))
    assert writer.isOpened()
    for index in range(frames):
        crop = image[20:140, 4 * index : 4 * index + 160]
        writer.write(cv2.cvtColor(crop, cv2.COLOR_GRAY2BGR))
    writer.release()


def run(*arguments: str) -> int:
    return parser.main(["video", "--model", "lite", "--device", "cpu", *arguments])


def count_and_size(path: str) -> tuple[int, tuple[int, int]]:
    capture = cv2.VideoCapture(path)
    count, size = 0, (0, 0)
    while True:
        there, frame = capture.read()
        if not there:
            return count, size
        count, size = count + 1, frame.shape[1::-1]


@pytest.mark.usefixtures("workdir")
def test_hold_colors(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    colorize = video.colorize_video

    def recorded(*arguments: object, **options: object) -> object:
        seen.append(options["hold_colors"])
        return colorize(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(video, "colorize_video", recorded)
    assert run("film.mp4", "-o", "held.mkv", "--codec", "ffv1") == 0
    assert run("film.mp4", "-o", "not.mkv", "--codec", "ffv1", "--no-hold-colors") == 0
    assert seen == [True, False]
    assert Path("held.mkv").read_bytes() != Path("not.mkv").read_bytes()


def test_one_video(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (workdir / "film.mp4").read_bytes()
    assert run("film.mp4") == 0
    captured = capsys.readouterr()
    assert captured.out == "film.color.mp4\n"
    assert "12 frames" in captured.err
    assert "audio: " in captured.err
    assert count_and_size("film.color.mp4") == (12, (160, 120))
    assert (workdir / "film.mp4").read_bytes() == before
    assert sorted(path.name for path in workdir.iterdir()) == ["film.color.mp4", "film.mp4"]


@pytest.mark.usefixtures("workdir")
def test_options_reach_the_video() -> None:
    assert run("film.mp4", "-o", "both.mp4", "--compare", "--start", "0.3", "--end", "0.8") == 0
    count, size = count_and_size("both.mp4")
    assert size == (320, 120)
    assert 4 <= count <= 6
    assert run("film.mp4", "-o", "grey.mp4", "--saturation", "0") == 0
    capture = cv2.VideoCapture("grey.mp4")
    _, frame = capture.read()
    assert np.ptp(frame.astype(int), axis=2).max() < 8


def test_broken_file_in_a_folder_does_not_stop_the_others(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workdir / "reels" / "old").mkdir(parents=True)
    make_video(workdir / "reels" / "old" / "one.avi", frames=4)
    make_video(workdir / "reels" / "two.mp4", frames=4)
    (workdir / "reels" / "broken.mp4").write_bytes(b"no film at all")
    assert run("reels", "-o", "out") == 1
    assert "broken.mp4" in capsys.readouterr().err
    written = sorted(
        p.relative_to("out").with_suffix("").as_posix() for p in Path("out").rglob("*.*")
    )
    assert written == ["old/one", "two"]


@pytest.mark.usefixtures("workdir")
def test_preview_writes_images() -> None:
    assert run("film.mp4", "--preview", "3", "--compare", "-o", "stills/") == 0
    stills = sorted(Path("stills").iterdir())
    assert [path.name for path in stills] == ["film.01.png", "film.02.png", "film.03.png"]
    assert all(cv2.imread(str(path)).shape == (120, 320, 3) for path in stills)


@pytest.mark.usefixtures("workdir")
def test_existing_output_needs_force(capsys: pytest.CaptureFixture[str]) -> None:
    Path("film.color.mp4").write_text("precious")
    assert run("film.mp4") == 1
    assert Path("film.color.mp4").read_text() == "precious"
    assert "--force" in capsys.readouterr().err
    assert run("film.mp4", "--force") == 0
    assert count_and_size("film.color.mp4")[0] == 12


@pytest.mark.usefixtures("workdir")
@pytest.mark.parametrize(
    ("arguments", "code", "expected_text"),
    [
        pytest.param(["nowhere.mp4"], 1, "nowhere.mp4", id="missing"),
        pytest.param(["-"], 1, "piped", id="no-pipes"),
        pytest.param(["film.mp4", "--audio", "keep", "--start", "9"], 1, "film", id="past-the-end"),
        pytest.param(["film.mp4", "--codec", "tape"], 2, "tape", id="codec"),
    ],
)
def test_exit_codes(
    arguments: list[str], code: int, expected_text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == code
    assert expected_text in capsys.readouterr().err
    assert [path.name for path in Path().iterdir()] == ["film.mp4"]


@pytest.mark.parametrize("option", ["--preview", "--keyframe-interval"])
def test_counts_start_at_one(option: str) -> None:
    with pytest.raises(SystemExit) as stop:
        run("film.mp4", option, "0")
    assert stop.value.code == 2


def test_interrupt_leaves_no_partial_output(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_pipeline = api.run_pipeline

    def interrupted(*arguments: object) -> None:
        def stop(done: int, total: int | None) -> None:
            if done >= 5:
                raise KeyboardInterrupt

        run_pipeline(*arguments[:-1], stop)  # type: ignore[arg-type]

    monkeypatch.setattr(api, "run_pipeline", interrupted)
    assert run("film.mp4") == 130
    assert [path.name for path in workdir.iterdir()] == ["film.mp4"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", 90.0), ("1:30", 90.0), ("0:01:30.5", 90.5), ("1:00:00", 3600.0), ("0.25", 0.25)],
)
def test_times(text: str, expected: float) -> None:
    arguments = parser.make_parser().parse_args(["video", "a.mp4", "--start", text])
    assert arguments.start == expected


@pytest.mark.parametrize("text", ["", "one", "1:2:3:4", "-1", "1:-5", "nan", "inf", "1::2"])
def test_invalid_times(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parser.main(["video", "a.mp4", f"--start={text}"])
    assert stop.value.code == 2
    assert f"expected seconds, 1:30 or 0:01:30.5, got {text!r}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("codec", "expected"), [("h265", "hevc"), ("X264", "h264"), ("VP9", "vp9"), ("tape", "tape")]
)
def test_codec_names_people_use(codec: str, expected: str) -> None:
    arguments = parser.make_parser().parse_args(["video", "a.mp4", "--codec", codec])
    assert arguments.codec == expected


@pytest.mark.usefixtures("workdir")
def test_hints_and_references(capsys: pytest.CaptureFixture[str]) -> None:
    red = np.zeros((120, 160, 4), np.uint8)
    red[30:60, 40:80] = 20, 20, 220, 255
    cv2.imwrite("strokes.png", red)
    cv2.imwrite("still.png", np.dstack([red[..., 0], red[..., 1], red[..., 2] // 2 + 90]))

    def redness(*options: str) -> float:
        assert run("film.mp4", "-o", "out.mp4", "--force", *options) == 0
        _, frame = cv2.VideoCapture("out.mp4").read()
        return float((frame[..., 2].astype(float) - frame[..., 0]).mean())

    plain = redness()
    assert redness("--hints-at", "0.5=strokes.png") > plain + 5
    assert redness("--hints-at", "0:00.5=60,45,red,9", "--hints-at", "0.5=9,9,#ff0000") > plain + 5
    assert redness("--reference", "still.png") > plain + 5
    assert redness("--reference", "still.png", "--reference-strength", "0") == plain
    capsys.readouterr()
    for hints, code, message in (
        (["9=strokes.png"], 2, "hints at 9 s are after the last frame"),
        (["0=9,9,nocolor"], 2, "nocolor"),
        (["0=none.png"], 1, "none.png"),
        (["0=strokes.png", "0=9,9,red"], 2, "into one file of strokes"),
    ):
        given = [part for hint in hints for part in ("--hints-at", hint)]
        assert run("film.mp4", "-o", "new.mp4", *given) == code
        assert message in capsys.readouterr().err
        assert not Path("new.mp4").exists()
    for text in ("strokes.png", "1=", "x=strokes.png"):
        with pytest.raises(SystemExit):
            run("film.mp4", "--hints-at", text)
        assert "expected" in capsys.readouterr().err
    assert run("film.mp4", "--preview", "2", "--hints-at", "0=9,9,red") == 2
    make_video(Path("other.mp4"))
    assert run("film.mp4", "other.mp4", "--hints-at", "0=9,9,red") == 2
    assert "--hints-at is for one video, got 2" in capsys.readouterr().err


@pytest.mark.usefixtures("workdir")
def test_reading_up_to_a_hint_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = fake_terminal(monkeypatch)
    monkeypatch.setattr(progress, "_DELAY_S", 0.0)
    read_scenes = VideoSteering.find_scenes

    def read_slowly(self: VideoSteering, reader: Any) -> None:
        end = time.monotonic() + 20
        while "reading up to the hints, 0 s" not in terminal.getvalue():
            assert time.monotonic() < end
            time.sleep(0.01)
        read_scenes(self, reader)

    monkeypatch.setattr(VideoSteering, "find_scenes", read_slowly)
    assert run("film.mp4", "--hints-at", "0.5=60,45,red,9") == 0
    reading, bar = terminal.getvalue().index("reading up to"), terminal.getvalue().index("12/12")
    assert reading < bar
    assert "reading up to" not in terminal.getvalue()[bar:]
