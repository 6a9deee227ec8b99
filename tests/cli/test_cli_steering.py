"""The command's hints, references and variants, and ``colorcv suggest``."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

import colorcv
from colorcv import Hint
from colorcv.cli import parser
from tests.cli.test_cli import PHOTO

LITE = ("--model", "lite", "--device", "cpu")


@pytest.fixture
def grey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Return a small grey image, which is photo.png in the current folder."""
    full = cv2.imread(str(PHOTO), cv2.IMREAD_GRAYSCALE)
    small = cv2.resize(full, (160, 120), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(tmp_path / "photo.png"), small)
    monkeypatch.chdir(tmp_path)
    return np.asarray(small)


@pytest.fixture(scope="module")
def lite() -> colorcv.Colorizer:
    return colorcv.Colorizer("lite", device="cpu")


def run(*arguments: str) -> int:
    return parser.main([*arguments])


def test_hints_and_strokes(grey: np.ndarray, lite: colorcv.Colorizer) -> None:
    strokes = np.zeros((120, 160, 4), np.uint8)
    strokes[90:100, 20:60] = 40, 120, 60, 255
    cv2.imwrite("strokes.png", strokes)
    hints = ("--hint", "80,20,skyblue", "--hint", "30,60,#884422,9")
    assert run("image", *LITE, *hints, "--hints", "strokes.png", "photo.png") == 0
    session = lite.session(grey)
    session.add(strokes)
    session.add(Hint(80, 20, "skyblue"))
    session.add(Hint(30, 60, "#884422", radius=9))
    np.testing.assert_array_equal(cv2.imread("photo.color.png"), session.render())


def test_references(grey: np.ndarray, lite: colorcv.Colorizer) -> None:
    color = np.dstack([grey, grey // 2 + 60, 255 - grey]).astype(np.uint8)
    cv2.imwrite("one.png", color)
    cv2.imwrite("two.png", color[:, ::-1])
    given = ("--reference", "one.png", "--reference", "two.png", "--reference-strength", "0.5")
    assert run("image", *LITE, *given, "photo.png") == 0
    expected = lite.colorize(
        grey, reference=[color, np.ascontiguousarray(color[:, ::-1])], reference_strength=0.5
    )
    np.testing.assert_array_equal(cv2.imread("photo.color.png"), expected)


def test_variants(
    grey: np.ndarray, lite: colorcv.Colorizer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("image", *LITE, "--variants", "3", "photo.png") == 0
    names = capsys.readouterr().out.split()
    expected = lite.variants(grey, 3)
    assert names == [f"photo.color-{number + 1}.png" for number in range(len(expected))]
    for name, image in zip(names, expected, strict=True):
        np.testing.assert_array_equal(cv2.imread(name), image)
    assert not Path("photo.color.png").exists()
    # Existing ones are not overwritten, nor taken for inputs of the next run.
    assert run("image", *LITE, "--variants", "3", "photo.png") == 1
    assert "photo.color-1.png already exists" in capsys.readouterr().err


@pytest.mark.usefixtures("grey")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["--hint", "1,2,red", "photo.png", "other.png"], "one image", id="two-images"),
        pytest.param(["--hint", "1,2,red", "--variants", "2", "photo.png"], "--variants",
                     id="variants-and-hints"),
        pytest.param(["--variants", "2", "photo.png", "-o", "-"], "standard output",
                     id="variants-to-a-pipe"),
        pytest.param(["--hint", "1,2,redd", "photo.png"], "redd", id="no-colour"),
        pytest.param(["--reference-strength", "2", "--reference", "photo.png", "photo.png"],
                     "grey|strength", id="strength"),
    ],
)  # fmt: skip
def test_what_cannot_be_together(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("other.png").write_bytes(Path("photo.png").read_bytes())
    assert run("image", *LITE, *arguments) in (1, 2)
    assert re.search(said, capsys.readouterr().err)
    assert not list(Path().glob("photo.color*"))


@pytest.mark.usefixtures("grey")
@pytest.mark.parametrize("value", ["1,2", "a,2,red", "1,2,red,x", ""])
def test_a_hint_that_cannot_be_read(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        run("image", *LITE, "--hint", value, "photo.png")
    assert stopped.value.code == 2
    assert "X,Y,#rrggbb" in capsys.readouterr().err


@pytest.mark.usefixtures("grey")
def test_a_hint_outside_says_the_size(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("image", *LITE, "--hint", "500,2,red", "photo.png") == 1
    assert "160x120" in capsys.readouterr().err


def test_suggest(
    grey: np.ndarray, lite: colorcv.Colorizer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("suggest", *LITE, "photo.png", "80,20", "-n", "3") == 0
    lines = capsys.readouterr().out.splitlines()
    expected = lite.suggest(grey, 80, 20, 3)
    assert lines == [f"{one.color} {100 * one.probability:.0f} %" for one in expected]


@pytest.mark.usefixtures("grey")
def test_suggest_says_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("suggest", *LITE, "nothing.png", "1,1") == 1
    assert "nothing.png" in capsys.readouterr().err
    assert run("suggest", *LITE, "photo.png", "999,1") == 1
    assert "160x120" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run("suggest", *LITE, "photo.png", "80")
