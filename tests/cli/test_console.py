"""Lines of the command: notes, warnings of the library, progress, words."""

from __future__ import annotations

import io
import logging
import re
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from colorcv.cli import parser, progress
from colorcv.cli.console import Console, as_flags


class FakeTerminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def fake_terminal(monkeypatch: pytest.MonkeyPatch) -> FakeTerminal:
    """Put a terminal in place of standard error. (pytest restores what a fixture sets.)"""
    stream = FakeTerminal()
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    grey = np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), grey)
    cv2.imwrite(str(tmp_path / "b.png"), grey)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_lite(*arguments: str) -> int:
    return parser.main(["image", "--model", "lite", "--device", "cpu", *arguments])


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("out.jpg already exists; pass overwrite=True", "out.jpg already exists; use --force"),
        ('or pass model="lite", which is bundled', "or use --model lite, which is bundled"),
        ("pass keyframe_interval=1 instead", "use --keyframe-interval 1 instead"),
        ("photo model=lite.jpg is damaged", "photo model=lite.jpg is damaged"),
        ("pass low_memory=True", "use --low-memory"),
        ('use memory="low"', "use --memory low"),
        ("or use device='cpu'", "or use --device cpu"),
        ("audio='keep' needs PyAV", "--audio keep needs PyAV"),
        ("pass saturation=0.5.", "use --saturation 0.5."),
    ],
)
def test_keyword_arguments_become_flags(message: str, expected: str) -> None:
    assert as_flags(message) == expected


def test_info_tells_the_memory_form(capsys: pytest.CaptureFixture[str]) -> None:
    assert parser.main(["info"]) == 0
    assert re.search(
        r"--memory auto is (balanced|low) for zhang2016: memory form \1, .* MiB",
        capsys.readouterr().out,
    )


def test_memory_forms(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_lite("a.png", "--memory", "fast", "-o", "fast.png", "-v") == 0
    assert run_lite("a.png", "--low-memory", "-o", "low.png") == 0
    fast, low = (cv2.imread(str(workdir / f"{name}.png")) for name in ("fast", "low"))
    assert np.abs(fast.astype(int) - low).max() <= 1
    for arguments in (["--memory", "fast", "--low-memory"], ["--memory", "small"]):
        with pytest.raises(SystemExit) as error:
            run_lite("a.png", *arguments)
        assert error.value.code == 2
    assert "not allowed with argument" in capsys.readouterr().err


def test_info_has_no_python(capsys: pytest.CaptureFixture[str]) -> None:
    assert parser.main(["info"]) == 0
    text = capsys.readouterr().out
    assert "='" not in text
    assert '="' not in text


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], "colorcv: warning: two pages\n"),
        (["-v"], "colorcv: loaded\ncolorcv: warning: two pages\n"),
        (["--quiet"], ""),
    ],
)
@pytest.mark.usefixtures("workdir")
def test_log_messages_are_shown(
    flags: list[str],
    expected: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from colorcv.colorizer import Colorizer

    logger = logging.getLogger("colorcv")
    colorize = Colorizer.colorize

    def logging_colorize(self: Colorizer, *args: object, **options: object) -> object:
        logger.info("loaded")
        logger.warning("%s pages", "two")
        return colorize(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Colorizer, "colorize", logging_colorize)
    handlers = list(logger.handlers)
    assert run_lite("a.png", *flags) == 0
    captured = capsys.readouterr()
    assert ("model lite on cpu: " in captured.err) == ("-v" in flags)
    lines = [line for line in captured.err.splitlines(True) if "loaded" in line or "two" in line]
    assert "".join(lines) == expected
    assert captured.out == "a.color.png\n"
    assert logger.handlers == handlers
    assert logger.level == logging.NOTSET


@pytest.mark.usefixtures("workdir")
def test_quiet_hides_notes_but_not_errors(capsys: pytest.CaptureFixture[str]) -> None:
    Path("in").mkdir()
    Path("in/notes.txt").touch()
    Path("in/x.png").write_bytes(b"nothing")
    assert run_lite("-q", "in", "-o", "out") == 1
    captured = capsys.readouterr()
    assert "notes.txt" not in captured.err
    assert "in/x.png" in captured.err


def test_many_skipped_files_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    for number in range(12):
        console.note_listed("files skipped", f"skipped {number}")
    console.note_counts()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 11
    assert lines[9:] == ["colorcv: skipped 9", "colorcv: ... and 2 more files skipped"]


@pytest.mark.usefixtures("workdir")
def test_one_image_and_a_bundled_model_draw_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = fake_terminal(monkeypatch)
    assert run_lite("a.png") == 0
    assert terminal.getvalue() == ""


@pytest.mark.usefixtures("workdir")
def test_several_images_draw_a_bar_unless_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = fake_terminal(monkeypatch)
    assert run_lite("a.png", "b.png") == 0
    assert "colouring" in terminal.getvalue()
    assert "1/2" in terminal.getvalue() or "2/2" in terminal.getvalue()  # tqdm skips fast steps
    terminal.truncate(0)
    assert run_lite("a.png", "b.png", "--force", "-q") == 0
    assert terminal.getvalue().strip("\0") == ""


def test_activity_is_drawn_after_a_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = fake_terminal(monkeypatch)
    monkeypatch.setattr(progress, "_DELAY_S", 0.01)
    console = Console()
    with progress.Activity(console, "colouring large.tif"):
        end = time.monotonic() + 20
        while "large.tif" not in terminal.getvalue() and time.monotonic() < end:
            time.sleep(0.01)
        console.note("a note")
    assert "colouring large.tif, 0 s" in terminal.getvalue()
    assert "\r\033[Kcolorcv: a note\n" in terminal.getvalue()
    assert console.live is None


def test_activity_shorter_than_its_delay_is_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = fake_terminal(monkeypatch)
    with progress.Activity(Console(), "colouring small.tif"):
        pass
    assert terminal.getvalue() == ""


@pytest.mark.parametrize("has_tqdm", [True, False])
def test_bar_counts_and_clears_for_lines(has_tqdm: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = fake_terminal(monkeypatch)
    if not has_tqdm:
        monkeypatch.setitem(sys.modules, "tqdm", None)
    console = Console()
    with progress.ProgressBar(console, "files", "colouring", 3) as bar:
        assert terminal.getvalue() == ""
        for done in (1, 2, 3):
            bar.update_to(done)
            console.result(f"{done}.png")
    assert "3/3" in terminal.getvalue()
    assert "0/3" not in terminal.getvalue()
    assert "1/3" in terminal.getvalue().rpartition("2/3")[0]  # drawn again below 1.png
    assert console.live is None


@pytest.mark.parametrize("option", ["--help", "image"])
def test_usage_names_the_module(option: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "colorcv", option], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout or done.stderr).startswith("usage: python -m colorcv ")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["info"], ["download", "lite"]])
def test_full_standard_output(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "colorcv", *arguments],
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=60,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "colorcv: cannot write to standard output: No space left on device\n"
