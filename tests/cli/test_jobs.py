"""Which files are taken and where results go."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from colorcv.cli.jobs import Job, plan
from colorcv.errors import OptionError

SUFFIXES = {".png", ".jpg"}


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("in/a.jpg", "in/b/c.PNG", "in/b/a.jpg", "in/notes.txt", "in/old.color.jpg",
                 "in/.hidden.jpg", "one.png"):  # fmt: skip
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def jobs(inputs: list[str], output: str | None) -> list[tuple[str | None, str | None]]:
    found = plan(inputs, output, suffixes=SUFFIXES)
    assert found.problems == []
    return [
        (job.source and job.source.as_posix(), job.target and job.target.as_posix())
        for job in found.jobs
    ]


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize(
    ("inputs", "output", "expected"),
    [
        pytest.param(["one.png"], None, [("one.png", "one.color.png")], id="beside-the-input"),
        pytest.param(["one.png"], "x.jpg", [("one.png", "x.jpg")], id="one-to-a-file"),
        pytest.param(["one.png"], "new/", [("one.png", "new/one.png")], id="slash-is-a-folder"),
        pytest.param(["one.png"], "in", [("one.png", "in/one.png")], id="existing-folder"),
        pytest.param(["one.png"], "-", [("one.png", None)], id="to-stdout"),
        pytest.param(["-"], None, [(None, None)], id="pipe"),
        pytest.param(["-"], "x.png", [(None, "x.png")], id="stdin-to-a-file"),
        pytest.param(["-"], "in", [(None, "in/stdin.png")], id="stdin-to-a-folder"),
        pytest.param(
            ["in"],
            "out",
            [("in/a.jpg", "out/a.jpg"), ("in/b/a.jpg", "out/b/a.jpg"),
             ("in/b/c.PNG", "out/b/c.PNG")],
            id="the-tree-is-kept",
        ),
        pytest.param(
            ["in"],
            None,
            [("in/a.jpg", "in/a.color.jpg"), ("in/b/a.jpg", "in/b/a.color.jpg"),
             ("in/b/c.PNG", "in/b/c.color.PNG")],
            id="folder-beside",
        ),
        pytest.param(
            ["one.png", "in/a.jpg"], "out", [("one.png", "out/one.png"), ("in/a.jpg", "out/a.jpg")],
            id="several-need-a-folder",
        ),
        pytest.param(
            ["in"], "in/b", [("in/a.jpg", "in/b/a.jpg")], id="output-folder-inside-is-not-an-input"
        ),
    ],
)  # fmt: skip
def test_where_results_go(
    inputs: list[str], output: str | None, expected: list[tuple[str | None, str | None]]
) -> None:
    assert jobs(inputs, output) == expected


@pytest.mark.usefixtures("tree")
def test_files_passed_over_are_counted() -> None:
    assert plan(["in"], "out", suffixes=SUFFIXES).left_alone == 3


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize(
    ("inputs", "output", "kept", "said"),
    [
        pytest.param(["nowhere.png"], None, 0, "no such file", id="missing"),
        pytest.param(["in"], "-", 0, "folder cannot go to standard output", id="folder-to-stdout"),
        pytest.param(["in"], "in", 0, "would be written over", id="onto-itself"),
        pytest.param(["one.png"], "one.png", 0, "would be written over", id="file-onto-itself"),
        pytest.param(["in/a.jpg", "in/b/a.jpg"], "out", 1, "goes to out/a.jpg", id="same-name"),
        pytest.param(["one.png", "in/a.jpg"], "-", 1, "standard output", id="two-to-stdout"),
    ],
)
def test_what_cannot_be_done_is_said(
    inputs: list[str], output: str | None, kept: int, said: str
) -> None:
    found = plan(inputs, output, suffixes=SUFFIXES)
    assert len(found.jobs) == kept
    assert all(said in problem for problem in found.problems)
    assert found.problems


def test_links_in_circles_end(tree: Path) -> None:
    os.symlink(tree / "in", tree / "in" / "b" / "loop")
    assert len(plan(["in"], "out", suffixes=SUFFIXES).jobs) == 3


def test_a_linked_file_is_taken_once_by_each_name(tree: Path) -> None:
    os.symlink(tree / "one.png", tree / "in" / "link.png")
    assert (
        Job(Path("in/link.png"), Path("out/link.png"))
        in plan(["in"], "out", suffixes=SUFFIXES).jobs
    )


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize("output", ["new.png", "one.png"])
def test_several_inputs_are_not_put_into_a_file(output: str) -> None:
    with pytest.raises(OptionError, match="folder"):
        plan(["one.png", "in/a.jpg"], output, suffixes=SUFFIXES)


@pytest.mark.usefixtures("tree")
def test_results_among_several_files_are_left_alone_and_said() -> None:
    found = plan(["in/a.jpg", "in/old.color.jpg"], None, suffixes=SUFFIXES)
    assert [job.source for job in found.jobs] == [Path("in/a.jpg")]
    assert "in/old.color.jpg" in found.notes[0]
