"""Input files, output paths and files passed over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from colorcv.cli.jobs import Job, plan_batch
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
    batch = plan_batch(inputs, output, suffixes=SUFFIXES)
    assert batch.problems == []
    return [
        (job.source and job.source.as_posix(), job.target and job.target.as_posix())
        for job in batch.jobs
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
def test_output_paths(
    inputs: list[str], output: str | None, expected: list[tuple[str | None, str | None]]
) -> None:
    assert jobs(inputs, output) == expected


@pytest.mark.usefixtures("tree")
def test_skipped_files_are_counted() -> None:
    assert plan_batch(["in"], "out", suffixes=SUFFIXES).skipped == 3


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize(
    ("inputs", "output", "kept", "expected_text"),
    [
        pytest.param(["nowhere.png"], None, 0, "no such file", id="missing"),
        pytest.param(["in"], "-", 0, "folder cannot go to standard output", id="folder-to-stdout"),
        pytest.param(["in"], "in", 0, "would be written over", id="onto-itself"),
        pytest.param(["one.png"], "one.png", 0, "would be written over", id="file-onto-itself"),
        pytest.param(["in/a.jpg", "in/b/a.jpg"], "out", 1, "goes to out/a.jpg", id="same-name"),
        pytest.param(["one.png", "in/a.jpg"], "-", 1, "standard output", id="two-to-stdout"),
    ],
)
def test_problems(inputs: list[str], output: str | None, kept: int, expected_text: str) -> None:
    batch = plan_batch(inputs, output, suffixes=SUFFIXES)
    assert len(batch.jobs) == kept
    assert all(expected_text in problem for problem in batch.problems)
    assert batch.problems


def test_circular_links(tree: Path) -> None:
    os.symlink(tree / "in", tree / "in" / "b" / "loop")
    assert len(plan_batch(["in"], "out", suffixes=SUFFIXES).jobs) == 3


def test_linked_file_is_an_input(tree: Path) -> None:
    os.symlink(tree / "one.png", tree / "in" / "link.png")
    assert (
        Job(Path("in/link.png"), Path("out/link.png"))
        in plan_batch(["in"], "out", suffixes=SUFFIXES).jobs
    )


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize("output", ["new.png", "one.png"])
def test_several_inputs_need_a_folder(output: str) -> None:
    with pytest.raises(OptionError, match="folder"):
        plan_batch(["one.png", "in/a.jpg"], output, suffixes=SUFFIXES)


@pytest.mark.usefixtures("tree")
def test_earlier_results_among_several_files_are_skipped() -> None:
    batch = plan_batch(["in/a.jpg", "in/old.color.jpg"], None, suffixes=SUFFIXES)
    assert [job.source for job in batch.jobs] == [Path("in/a.jpg")]
    assert "in/old.color.jpg" in batch.notes[0]
