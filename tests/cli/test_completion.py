"""Completion scripts, run by the shells themselves."""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import pytest

from colorcv._typing import Device, ModelName
from colorcv.cli import completion, main
from colorcv.cli.parser import make_parser

# What is typed before Tab, and the line after it. Files: `photo 1.jpg` and the folder `scans`.
LINES = {
    "subcommand": ("colorcv dow", "colorcv download "),
    "top-level-option": ("colorcv --vers", "colorcv --version "),
    "option": ("colorcv image --satu", "colorcv image --saturation "),
    "option-of-video": ("colorcv video --key", "colorcv video --keyframe-interval "),
    "value-of-a-choice": ("colorcv video --audio k", "colorcv video --audio keep "),
    "value-of-a-free-option": ("colorcv image --model zh", "colorcv image --model zhang2016 "),
    "positional-model": ("colorcv download li", "colorcv download lite "),
    "ambiguous": ("colorcv info --json --ver", "colorcv info --json --ver"),
    "file": ("colorcv image --force pho", r"colorcv image --force photo\ 1.jpg "),
    "output-folder": ("colorcv image x.png -o sca", "colorcv image x.png -o scans/"),
}


@pytest.fixture
def folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """Folder with the three scripts and some files to complete."""
    (tmp_path / "photo 1.jpg").touch()
    (tmp_path / "scans").mkdir()
    for shell in completion.SHELLS:
        with pytest.raises(SystemExit) as caught:
            main(["--print-completion", shell])
        assert caught.value.code == 0
        (tmp_path / f"script.{shell}").write_text(capsys.readouterr().out, encoding="utf-8")
    return tmp_path


class Terminal:
    """An interactive shell on a pseudo-terminal."""

    def __init__(self, argv: list[str], folder: Path) -> None:
        import pty

        master, slave = pty.openpty()
        self._fd = master
        environment = {
            **os.environ, "TERM": "dumb", "PS1": "$ ", "HOME": str(folder), "ZDOTDIR": str(folder),
        }  # fmt: skip
        self._process = subprocess.Popen(
            argv, cwd=folder, env=environment, stdin=slave, stdout=slave, stderr=slave,
            start_new_session=True,
        )  # fmt: skip
        os.close(slave)

    def type(self, text: str, expected: str) -> str:
        """Send text and return the output up to the expected pattern, or all within 30 s."""
        os.write(self._fd, text.encode())
        output, end = "", time.monotonic() + 30
        while not re.search(expected, output) and time.monotonic() < end:
            if select.select([self._fd], [], [], 0.1)[0]:
                output += os.read(self._fd, 4096).decode(errors="replace")
        return output

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._fd)


def complete_in(shell: str, argv: list[str], setup: str, folder: Path, typed: str) -> str:
    """Type text and Tab in an interactive shell; return the line as the shell then has it."""
    terminal = Terminal(argv, folder)
    try:
        # The marker is spelled with quotes, so that its echo on the terminal does not match.
        terminal.type(f"{setup}; source ./script.{shell}; echo REA''DY\n", "READY")
        # Ctrl-A goes to the start of the line, Ctrl-E to its end.
        output = terminal.type(f"{typed}\t\x01echo 'LI''NE<\x05>'\n", r"LINE<.*>")
    finally:
        terminal.close()
    found = re.search(r"LINE<(.*?)>", output)
    assert found, output
    return found[1]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("case", LINES)
def test_bash(case: str, folder: Path) -> None:
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    typed, expected = LINES[case]
    assert complete_in("bash", ["bash", "--norc", "-i"], "true", folder, typed) == expected


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("case", LINES)
def test_zsh(case: str, folder: Path) -> None:
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed")
    typed, expected = LINES[case]
    setup = "bindkey -e; autoload -U compinit; compinit -D -u"
    line = complete_in("zsh", ["zsh", "-f", "-i"], setup, folder, typed)
    assert line.rstrip(" /") == expected.rstrip(" /")  # zsh removes what it added at the end


@pytest.mark.parametrize("case", LINES)
def test_fish(case: str, folder: Path) -> None:
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    typed, expected = LINES[case]
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"source script.fish; complete -C '{typed}'"],
        cwd=folder, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stderr == ""
    words = [line.partition("\t")[0] for line in done.stdout.splitlines()]
    last = expected.rstrip().replace(r"\ ", " ").removeprefix(typed.rpartition(" ")[0]).strip()
    assert last in words or case == "ambiguous"
    assert case != "ambiguous" or words == ["--verbose", "--verify"]
    assert not case.startswith("value") or len(words) == 1


def test_values_are_those_of_the_library() -> None:
    assert set(completion._VALUES["model"]) == set(get_args(ModelName))
    assert set(completion._VALUES["device"]) == set(get_args(Device))
    codecs = pytest.importorskip("colorcv.video.pyav.codecs", reason="PyAV is not installed")
    assert set(completion._VALUES["codec"]) == {"auto", *codecs.CODECS}


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_every_option_is_in_the_script(shell: str) -> None:
    script = completion.completion_script(make_parser(), shell)
    for _, arguments in completion._subcommands(make_parser()).values():
        for flag in completion._flags(arguments):
            if shell == "fish":  # "-l output" and "-s o"
                flag = re.sub("^-(?=[a-zA-Z]$)", "-s ", re.sub("^--", "-l ", flag))
            assert re.search(rf"(?<![\w-]){flag}(?![\w-])", script)


def test_an_unknown_shell_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--print-completion", "tcsh"])
    assert caught.value.code == 2
    assert "bash" in capsys.readouterr().err
