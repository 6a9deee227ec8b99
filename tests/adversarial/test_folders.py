"""Folders with arbitrary file names, circular links and unreadable entries."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import colorcv
from colorcv.cli import parser
from colorcv.cli.jobs import plan_batch

SUFFIXES = {".png", ".jpg"}
LITE = ["image", "--model", "lite", "--device", "cpu"]


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    return tmp_path


def write_images(*names: str | bytes) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8)
    content = cv2.imencode(".png", grey)[1].tobytes()
    for name in names:
        path = Path(os.fsdecode(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def start_command(*arguments: str, **environment: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "colorcv", *LITE, *arguments],
        env={**os.environ, "PYTHONPATH": str(Path(colorcv.__file__).parents[1]), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def wait_for(process: subprocess.Popen[bytes]) -> tuple[int, bytes, bytes]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def list_files(folder: str) -> set[bytes]:
    return {
        os.path.relpath(os.path.join(os.fsencode(at), name), os.fsencode(folder))  # noqa: PTH118
        for at, _, names in os.walk(os.fsencode(folder))
        for name in names
    }


NAMES = [
    "plain.png", "дом/façade.png", "写真\U0001f4f7.png", "new\nline.png", "-dash.png",
    " blank .png", "%s%n.png", "a.b.c.png", "...dots.png", "\U0001f3de" * 60 + ".png",
    b"bytes-\xff\xfe.png",
]  # fmt: skip


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are text there")
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_names_of_any_bytes(workdir: Path, encoding: str) -> None:
    write_images(*(b"in/" + (name if isinstance(name, bytes) else name.encode()) for name in NAMES))
    code, out, err = wait_for(start_command("in", "-o", "out", PYTHONIOENCODING=encoding))
    hidden = {b"...dots.png"}
    expected = {name if isinstance(name, bytes) else name.encode() for name in NAMES} - hidden
    assert (code, err) == (0, b"colorcv: skipped in/...dots.png: hidden file\n")
    assert list_files("out") == expected
    if encoding == "utf-8":  # names are printed as their own bytes
        assert all(b"out/" + name + b"\n" in out for name in expected)


@pytest.mark.skipif(os.name != "posix", reason="needs links, pipes and devices")
def test_links_pipes_and_devices(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_images("in/a.png")
    for link, to in {"loop": "loop.png", "dangling": "nowhere", "zero": "/dev/zero"}.items():
        Path(f"in/{link}.png").symlink_to(to)
    Path("in/self").symlink_to(".")
    Path("in/up").symlink_to("..")
    Path("in/folder.png").mkdir()
    os.mkfifo("in/pipe.png")
    assert parser.main([*LITE, "in", "-o", "out"]) == 1
    captured = capsys.readouterr()
    assert captured.out == "out/a.png\n"
    for name in ("loop", "dangling", "zero", "pipe"):
        assert f"in/{name}.png" in captured.err
    assert list_files("out") == {b"a.png"}


@pytest.mark.parametrize(
    ("inputs", "output", "expected_text"),
    [
        (["loop.png"], None, "too many levels|symbolic link"),
        (["in"], "loop", None),
        (["a" * 300 + ".png"], None, "too long|no such file"),
        (["in/a.png"], "a" * 300 + ".png", None),
        (["in/a.png/b.png"], None, "no such file"),
        (["null\0byte.png"], None, "null"),
        ([""], None, "the name of an input is empty"),
    ],
)
def test_invalid_input_names(
    workdir: Path, inputs: list[str], output: str | None, expected_text: str | None
) -> None:
    write_images("in/a.png")
    for name in ("loop.png", "loop"):
        Path(name).symlink_to(name)
    found = plan_batch(inputs, output, suffixes=SUFFIXES)
    assert len(found.jobs) == (expected_text is None)
    if expected_text is not None:
        (problem,) = found.problems
        assert any(part in problem.lower() for part in expected_text.split("|"))


@pytest.mark.parametrize("output", ["", "loop.png", "a" * 300 + ".png", "in/a.png/x.png"])
def test_invalid_output_names(
    workdir: Path, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images("in/a.png")
    Path("loop.png").symlink_to("loop.png")
    before = list_files(".")
    assert parser.main([*LITE, "in/a.png", "-o", output]) in (1, 2)
    assert capsys.readouterr().err.startswith("colorcv: ")
    assert list_files(".") == before


def test_unreadable_folder(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With faked permission errors, since root may read everything."""
    write_images("in/a.png", "in/locked/b.png", "shut/c.png")
    scandir, stat = os.scandir, Path.stat

    def refusing_scandir(path: str) -> object:
        if "locked" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    def refusing_stat(path: Path, **options: bool) -> os.stat_result:
        if path.parent.name == "shut":
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **options)

    monkeypatch.setattr(os, "scandir", refusing_scandir)
    monkeypatch.setattr(Path, "stat", refusing_stat)
    found = plan_batch(["in", "shut/c.png"], "out", suffixes=SUFFIXES)
    assert [str(job.source) for job in found.jobs] == ["in/a.png"]
    assert sorted(found.problems) == [
        "in/locked: cannot read this folder (Permission denied)",
        "shut/c.png: cannot read this file (Permission denied)",
    ]


def test_unreadable_file_does_not_stop_the_others(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images("in/a.png", "in/b.png", "in/c.png")
    read = Path.read_bytes

    def refusing(path: Path) -> bytes:
        if path.name == "b.png":
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refusing)
    assert parser.main([*LITE, "in", "-o", "out"]) == 1
    assert capsys.readouterr().err == "colorcv: in/b.png cannot be read: Permission denied\n"
    assert list_files("out") == {b"a.png", b"c.png"}


def test_unwritable_target_does_not_stop_the_others(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images("in/a.png", "in/b.png")
    open_file = Path.open

    def read_only(path: Path, mode: str = "r", **options: object) -> object:
        if "x" in mode and ".a.png." in path.name:
            raise OSError(30, "Read-only file system", str(path))
        return open_file(path, mode, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", read_only)
    assert parser.main([*LITE, "in", "-o", "out"]) == 1
    assert (
        capsys.readouterr().err == "colorcv: out/a.png cannot be written: Read-only file system\n"
    )
    assert list_files("out") == {b"b.png"}


def test_targets_that_collide_after_a_change_of_suffix(workdir: Path) -> None:
    """An .avi and a .wmv of the same stem both become the same .mp4."""
    for name in ("in/a.avi", "in/a.wmv", "in/b.mp4"):
        Path(name).touch()
    found = plan_batch(
        ["in"], "out", suffixes={".avi", ".wmv", ".mp4"}, name=lambda p: p.with_suffix(".mp4")
    )
    assert [str(job.target) for job in found.jobs] == ["out/a.mp4", "out/b.mp4"]
    assert found.problems == ["in/a.wmv: the result of another input also goes to out/a.mp4"]


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_two_concurrent_runs_on_one_folder(workdir: Path, force: list[str]) -> None:
    """Every result is complete; without --force each is written by one of the two runs."""
    names = [f"{number:02}.png" for number in range(12)]
    write_images(*(f"in/{name}" for name in names))
    runs = [start_command("in", "-o", "out", *force) for _ in range(2)]
    (code1, out1, err1), (code2, out2, err2) = map(wait_for, runs)
    assert list_files("out") == {name.encode() for name in names}
    assert all(cv2.imread(f"out/{name}").shape == (20, 30, 3) for name in names)
    done = (out1 + out2).splitlines()
    if force:
        assert (code1, code2, len(done)) == (0, 0, 24)
    else:
        assert sorted(done) == sorted(f"out/{name}".encode() for name in names)
        refused = (err1 + err2).splitlines()
        assert len(refused) == 12
        assert all(b"already exists; use --force" in line for line in refused)


def test_nested_input_and_output_folders(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_images("out/in/a.png")
    assert parser.main([*LITE, "out/in", "-o", "out"]) == 0
    assert list_files("out") == {b"in/a.png", b"a.png"}
    # The other way round, files in the output folder are not inputs.
    assert parser.main([*LITE, "out", "-o", "out/in"]) == 1
    assert "out/in/a.png already exists; use --force" in capsys.readouterr().err
    assert list_files("out") == {b"in/a.png", b"a.png"}


def test_linked_output_folder_is_not_an_input(workdir: Path) -> None:
    write_images("in/a.png", "in/results/old.png")
    Path("link").symlink_to("in/results")
    assert [str(job.source) for job in plan_batch(["in"], "link", suffixes=SUFFIXES).jobs] == [
        "in/a.png"
    ]


@pytest.mark.parametrize("error", [MemoryError("Unable to allocate 9 GiB"), MemoryError(),
                                   cv2.error("Insufficient memory")])  # fmt: skip
def test_out_of_memory_does_not_stop_the_others(
    workdir: Path,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_images("in/a.png", "in/b.png")
    colorize = colorcv.Colorizer.colorize
    calls = iter((error, None))

    def once(self: colorcv.Colorizer, *given: Any, **options: Any) -> Any:
        if failure := next(calls):
            raise failure
        return colorize(self, *given, **options)

    monkeypatch.setattr(colorcv.Colorizer, "colorize", once)
    assert parser.main([*LITE, "--low-memory", "in", "-o", "out"]) == 1
    captured = capsys.readouterr()
    assert captured.out == "out/b.png\n"
    assert captured.err == f"colorcv: in/a.png: {str(error) or 'not enough memory'}\n"
