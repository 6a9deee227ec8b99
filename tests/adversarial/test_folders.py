"""Folders as they are found: names of any bytes, links in circles, what cannot be read."""

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
from colorcv.cli.jobs import plan

SUFFIXES = {".png", ".jpg"}
LITE = ["image", "--model", "lite", "--device", "cpu"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    return tmp_path


def put(*names: str | bytes) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8)
    content = cv2.imencode(".png", grey)[1].tobytes()
    for name in names:
        path = Path(os.fsdecode(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def start(*arguments: str, **environment: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "colorcv", *LITE, *arguments],
        env={**os.environ, "PYTHONPATH": str(Path(colorcv.__file__).parents[1]), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def finish(process: subprocess.Popen[bytes]) -> tuple[int, bytes, bytes]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def results(folder: str) -> set[bytes]:
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
def test_names_of_any_bytes(here: Path, encoding: str) -> None:
    put(*(b"in/" + (name if isinstance(name, bytes) else name.encode()) for name in NAMES))
    code, out, err = finish(start("in", "-o", "out", PYTHONIOENCODING=encoding))
    hidden = {b"...dots.png"}
    expected = {name if isinstance(name, bytes) else name.encode() for name in NAMES} - hidden
    assert (code, err) == (0, b"colorcv: 1 other files in the folders are left alone\n")
    assert results("out") == expected
    if encoding == "utf-8":  # names come out as the bytes that they are
        assert all(b"out/" + name + b"\n" in out for name in expected)


@pytest.mark.skipif(os.name != "posix", reason="needs links, pipes and devices")
def test_what_is_no_file_of_its_own(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put("in/a.png")
    for link, to in {"loop": "loop.png", "dangling": "nowhere", "zero": "/dev/zero"}.items():
        Path(f"in/{link}.png").symlink_to(to)
    Path("in/self").symlink_to(".")
    Path("in/up").symlink_to("..")
    Path("in/folder.png").mkdir()
    os.mkfifo("in/pipe.png")
    assert parser.main([*LITE, "in", "-o", "out"]) == 1
    said = capsys.readouterr()
    assert said.out == "out/a.png\n"
    for name in ("loop", "dangling", "zero", "pipe"):
        assert f"in/{name}.png" in said.err
    assert results("out") == {b"a.png"}


@pytest.mark.parametrize(
    ("inputs", "output", "said"),
    [
        (["loop.png"], None, "too many levels|symbolic link"),
        (["in"], "loop.png", None),
        (["a" * 300 + ".png"], None, "too long|no such file"),
        (["in/a.png"], "a" * 300 + ".png", None),
        (["in/a.png/b.png"], None, "no such file"),
        (["null\0byte.png"], None, "null"),
        ([""], None, "an input's name is empty"),
    ],
)
def test_names_that_lead_nowhere(
    here: Path, inputs: list[str], output: str | None, said: str | None
) -> None:
    put("in/a.png")
    Path("loop.png").symlink_to("loop.png")
    found = plan(inputs, output, suffixes=SUFFIXES)
    assert len(found.jobs) == (said is None)
    if said is not None:
        (problem,) = found.problems
        assert any(part in problem.lower() for part in said.split("|"))


@pytest.mark.parametrize("output", ["", "loop.png", "a" * 300 + ".png", "in/a.png/x.png"])
def test_outputs_that_cannot_be(
    here: Path, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    put("in/a.png")
    Path("loop.png").symlink_to("loop.png")
    before = results(".")
    assert parser.main([*LITE, "in/a.png", "-o", output]) in (1, 2)
    assert capsys.readouterr().err.startswith("colorcv: ")
    assert results(".") == before


def test_a_folder_that_may_not_be_looked_into(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a stand-in, since root may look into everything."""
    put("in/a.png", "in/locked/b.png", "shut/c.png")
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
    found = plan(["in", "shut/c.png"], "out", suffixes=SUFFIXES)
    assert [str(job.source) for job in found.jobs] == ["in/a.png"]
    assert sorted(found.problems) == [
        "in/locked: this folder cannot be read (Permission denied)",
        "shut/c.png: it cannot be read (Permission denied)",
    ]


def test_a_file_that_may_not_be_read_stops_no_other(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put("in/a.png", "in/b.png", "in/c.png")
    read = Path.read_bytes

    def refusing(path: Path) -> bytes:
        if path.name == "b.png":
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refusing)
    assert parser.main([*LITE, "in", "-o", "out"]) == 1
    assert capsys.readouterr().err == "colorcv: in/b.png cannot be read: Permission denied\n"
    assert results("out") == {b"a.png", b"c.png"}


def test_a_target_that_may_not_be_written(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put("in/a.png", "in/b.png")
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
    assert results("out") == {b"b.png"}


def test_names_that_collide_once_their_suffix_is_another(here: Path) -> None:
    """Films are named after what they are written as: an .avi and a .wmv become one .mp4."""
    for name in ("in/a.avi", "in/a.wmv", "in/b.mp4"):
        Path(name).touch()
    found = plan(
        ["in"], "out", suffixes={".avi", ".wmv", ".mp4"}, name=lambda p: p.with_suffix(".mp4")
    )
    assert [str(job.target) for job in found.jobs] == ["out/a.mp4", "out/b.mp4"]
    assert found.problems == ["in/a.wmv: another input's result goes to out/a.mp4 already"]


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_two_runs_on_one_folder_at_once(here: Path, force: list[str]) -> None:
    """Every result is whole, whoever wrote it; without --force the second says what is there."""
    names = [f"{number:02}.png" for number in range(12)]
    put(*(f"in/{name}" for name in names))
    runs = [start("in", "-o", "out", *force) for _ in range(2)]
    (code1, out1, err1), (code2, out2, err2) = map(finish, runs)
    assert results("out") == {name.encode() for name in names}
    assert all(cv2.imread(f"out/{name}").shape == (20, 30, 3) for name in names)
    done = (out1 + out2).splitlines()
    if force:
        assert (code1, code2, len(done)) == (0, 0, 24)
    else:
        assert sorted(done) == sorted(f"out/{name}".encode() for name in names)
        refused = (err1 + err2).splitlines()
        assert len(refused) == 12
        assert all(b"is there already" in line for line in refused)


def test_folders_inside_one_another(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put("out/in/a.png")
    assert parser.main([*LITE, "out/in", "-o", "out"]) == 0
    assert results("out") == {b"in/a.png", b"a.png"}
    # The other way round: what lies in the output folder is no input.
    assert parser.main([*LITE, "out", "-o", "out/in"]) == 1
    assert "out/in/a.png is there already" in capsys.readouterr().err
    assert results("out") == {b"in/a.png", b"a.png"}


def test_a_linked_output_folder_is_still_no_input(here: Path) -> None:
    put("in/a.png", "in/results/old.png")
    Path("link").symlink_to("in/results")
    assert [str(job.source) for job in plan(["in"], "link", suffixes=SUFFIXES).jobs] == ["in/a.png"]


@pytest.mark.parametrize("error", [MemoryError("Unable to allocate 9 GiB"), MemoryError(),
                                   cv2.error("Insufficient memory")])  # fmt: skip
def test_a_file_too_large_for_memory_stops_no_other(
    here: Path,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    put("in/a.png", "in/b.png")
    colorize = colorcv.Colorizer.colorize
    calls = iter((error, None))

    def once(self: colorcv.Colorizer, *given: Any, **options: Any) -> Any:
        if failure := next(calls):
            raise failure
        return colorize(self, *given, **options)

    monkeypatch.setattr(colorcv.Colorizer, "colorize", once)
    assert parser.main([*LITE, "--low-memory", "in", "-o", "out"]) == 1
    said = capsys.readouterr()
    assert said.out == "out/b.png\n"
    assert said.err == f"colorcv: in/a.png: {str(error) or 'it does not fit into memory'}\n"
