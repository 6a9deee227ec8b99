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
def test_skipped_files_are_listed_with_reasons() -> None:
    reasons = {".heic": "HEIC cannot be read"}
    Path("in/phone.HEIC").touch()
    Path("in/.thumbnails").mkdir()
    skipped = plan_batch(["in"], "out", suffixes=SUFFIXES, reasons=reasons).skipped
    assert {path.as_posix(): reason for path, reason in skipped} == {
        "in/.hidden.jpg": "hidden file",
        "in/.thumbnails": "hidden folder",
        "in/notes.txt": "not a supported file format",
        "in/old.color.jpg": "result of an earlier run",
        "in/phone.HEIC": "HEIC cannot be read",
    }


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize(
    ("inputs", "output", "kept", "expected_text"),
    [
        pytest.param(["nowhere.png"], None, 0, "no such file", id="missing"),
        pytest.param(
            ["in"], "-", 0, "cannot write a folder to standard output", id="folder-to-stdout"
        ),
        pytest.param(["in"], "in", 0, "would overwrite the input", id="onto-itself"),
        pytest.param(["one.png"], "one.png", 0, "would overwrite the input", id="file-onto-itself"),
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
@pytest.mark.parametrize("inputs", [["one.png", "in/a.jpg"], ["in"], ["in/*.jpg", "one.png"]])
@pytest.mark.parametrize("output", ["new.png", "one.png"])
def test_several_inputs_need_a_folder(inputs: list[str], output: str) -> None:
    with pytest.raises(OptionError, match=f"need a folder, got the file name -o {output}"):
        plan_batch(inputs, output, suffixes=SUFFIXES)


@pytest.mark.usefixtures("tree")
def test_output_without_suffix_is_ambiguous_for_one_file() -> None:
    with pytest.raises(OptionError, match=r"-o new has no suffix: use -o new\.png .* or -o new/"):
        plan_batch(["one.png"], "new", suffixes=SUFFIXES)


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ("https://example.org/a//b.jpg", r"curl -L -O https://example.org/a//b.jpg"),
        ("HTTP://example.org/in/*.png", "curl -L -O HTTP://example.org/in/*.png"),
        ("file:///tmp/photo.jpg", "give the path of the file"),
        ("s3://bucket/photo.jpg", "download the file first"),
    ],
)
def test_urls_are_refused(given: str, advice: str) -> None:
    (problem,) = plan_batch([given], None, suffixes=SUFFIXES).problems
    assert problem.startswith(f"{given}: URLs are not supported")
    assert advice in problem
    with pytest.raises(OptionError, match="cannot write to a URL"):
        plan_batch(["one.png"], given, suffixes=SUFFIXES)


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.png", ["one.png", "scan1.png", "scan[1].png"]),
        ("in/**/[ac].[jP]*", ["in/a.jpg", "in/b/a.jpg", "in/b/c.PNG"]),
        ("in/b", ["in/b/a.jpg", "in/b/c.PNG"]),
        ("scan[[]1].png", ["scan[1].png"]),
        ("scan[1].png", ["scan[1].png"]),
        ("i?", ["in/a.jpg", "in/b/a.jpg", "in/b/c.PNG"]),
    ],
)
def test_quoted_patterns_are_expanded(pattern: str, expected: list[str]) -> None:
    Path("scan[1].png").touch()
    Path("scan1.png").touch()
    Path("one.png").touch()
    batch = plan_batch([pattern], None, suffixes=SUFFIXES)
    assert not batch.problems
    assert sorted(job.source.as_posix() for job in batch.jobs if job.source) == expected


@pytest.mark.usefixtures("tree")
def test_pattern_without_a_match() -> None:
    batch = plan_batch(["*.tif"], None, suffixes=SUFFIXES)
    assert batch.problems == ["*.tif: no file matches this pattern"]
    assert not batch.jobs


@pytest.mark.usefixtures("tree")
def test_refused_suffixes_give_their_reason() -> None:
    Path("phone.heic").touch()
    batch = plan_batch(["phone.heic"], None, suffixes=SUFFIXES, reasons={".heic": "convert it"})
    assert batch.problems == ["phone.heic: convert it"]


@pytest.mark.usefixtures("tree")
def test_a_changed_suffix_is_a_note() -> None:
    Path("scan").touch()
    Path("in/x.pgm").touch()
    batch = plan_batch(
        ["scan", "in/x.pgm"], "out", suffixes=SUFFIXES, name=lambda path: path.with_suffix(".png")
    )
    assert [job.target for job in batch.jobs] == [Path("out/scan.png"), Path("out/x.png")]
    assert [job.note for job in batch.jobs] == [
        "scan: cannot write a file without suffix; the result is PNG",
        "in/x.pgm: cannot write PGM; the result is PNG",
    ]


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize("chosen", ["x.jpg", "y.png"])
def test_a_chosen_suffix_needs_no_note(chosen: str) -> None:
    Path("x.pgm").touch()
    (job,) = plan_batch(
        ["x.pgm"], chosen, suffixes=SUFFIXES, name=lambda path: path.with_suffix(".png")
    ).jobs
    assert job.note == ""


@pytest.mark.usefixtures("tree")
def test_the_same_input_twice_is_one_job() -> None:
    batch = plan_batch(["one.png", "./one.png", ".", "one.png"], None, suffixes=SUFFIXES)
    assert not batch.problems
    assert [job.source for job in batch.jobs].count(Path("one.png")) == 1
    assert len(batch.jobs) == 4


def test_home_folder_is_expanded(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tree / "in"))
    monkeypatch.setenv("USERPROFILE", str(tree / "in"))
    (job,) = plan_batch(["~/a.jpg"], "~/b.jpg", suffixes=SUFFIXES).jobs
    assert job == Job(tree / "in" / "a.jpg", tree / "in" / "b.jpg")
    Path("~").mkdir()
    Path("~/a.jpg").touch()
    (job,) = plan_batch(["~/a.jpg"], None, suffixes=SUFFIXES).jobs
    assert job.source == Path("~/a.jpg")


@pytest.mark.usefixtures("tree")
def test_jobs_with_an_output_are_dropped_and_counted() -> None:
    Path("out/b").mkdir(parents=True)
    Path("out/b/a.jpg").touch()
    os.symlink("nowhere", "out/a.jpg")
    batch = plan_batch(["in"], "out", suffixes=SUFFIXES)
    batch.skip_existing()
    assert [job.source for job in batch.jobs] == [Path("in/b/c.PNG")]
    assert batch.existing == 2


@pytest.mark.usefixtures("tree")
def test_earlier_results_among_several_files_are_skipped() -> None:
    batch = plan_batch(["in/a.jpg", "in/old.color.jpg"], None, suffixes=SUFFIXES)
    assert [job.source for job in batch.jobs] == [Path("in/a.jpg")]
    assert batch.skipped == [(Path("in/old.color.jpg"), "result of an earlier run")]
