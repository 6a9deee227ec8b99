"""The command with an ONNX file of each family: photos, a video, and what ``info`` says."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

import colorcv
from colorcv.cli import parser
from tests.cli.test_cli import PHOTO
from tests.cli.test_cli_video import count_and_size, make_video

DATA = Path(__file__).parents[1] / "data" / "onnx"
FAMILIES = {
    "ddcolor": ("--onnx", str(DATA / "ddcolor.onnx")),
    "ddcolor of the new exporter": ("--onnx", str(DATA / "ddcolor_new.onnx")),
    "deoldify": ("--onnx", str(DATA / "deoldify_artistic.onnx"), "--preset", "deoldify"),
    "deoldify fp16": ("--onnx", str(DATA / "deoldify_stable_half.onnx"), "--preset", "deoldify"),
    "siggraph17": ("--onnx", str(DATA / "siggraph17.onnx"), "--size", "64"),
    "zhang2016": ("--onnx", str(DATA / "eccv16.onnx"), "--preset", "zhang2016"),
}


@pytest.fixture
def grey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Return a small grey image, which is photo.png in the current folder."""
    full = cv2.imread(str(PHOTO), cv2.IMREAD_GRAYSCALE)
    small = cv2.resize(full, (160, 120), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(tmp_path / "photo.png"), small)
    monkeypatch.chdir(tmp_path)
    return np.asarray(small)


def run(*arguments: str) -> int:
    return parser.main([*arguments])


@pytest.mark.parametrize("family", FAMILIES)
def test_photo(grey: np.ndarray, family: str) -> None:
    assert run("image", *FAMILIES[family], "--device", "cpu", "photo.png") == 0
    result = cv2.imread("photo.color.png")
    assert result.shape == (120, 160, 3)
    assert np.ptp(result.astype(int), axis=2).mean() > 3  # it has colour


@pytest.mark.parametrize("family", FAMILIES)
def test_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str) -> None:
    monkeypatch.chdir(tmp_path)
    make_video(tmp_path / "film.mp4", frames=4)
    assert run("video", *FAMILIES[family], "--device", "cpu", "film.mp4") == 0
    assert count_and_size("film.color.mp4") == (4, (160, 120))


@pytest.mark.parametrize("family", ["ddcolor", "siggraph17"])
def test_video_with_hints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str) -> None:
    monkeypatch.chdir(tmp_path)
    make_video(tmp_path / "film.mp4", frames=3)
    given = ("video", *FAMILIES[family], "--device", "cpu", "film.mp4")
    assert run(*given, "-o", "plain.mp4") == 0
    assert run(*given, "-o", "hinted.mp4", "--hints-at", "0=80,60,crimson,30") == 0
    frames = [cv2.VideoCapture(f"{name}.mp4").read()[1] for name in ("plain", "hinted")]
    change = frames[1][60, 80].astype(int) - frames[0][60, 80]
    assert change[2] > change[1]  # redder


def test_folder_and_low_memory(grey: np.ndarray) -> None:
    Path("scans").mkdir()
    for name in ("a", "b"):
        cv2.imwrite(f"scans/{name}.png", grey)
    given = (*FAMILIES["ddcolor"], "--device", "cpu", "--low-memory")
    assert run("image", *given, "scans", "-o", "out") == 0
    assert sorted(path.name for path in Path("out").iterdir()) == ["a.png", "b.png"]


def test_hints_and_steering(grey: np.ndarray) -> None:
    given = ("image", *FAMILIES["siggraph17"], "--device", "cpu", "photo.png", "--force")
    model = colorcv.OnnxModel(DATA / "siggraph17.onnx", size=64)
    hints = [colorcv.Hint(80, 20, "crimson")]
    for steering in ("auto", "model", "regression"):
        assert run(*given, "--hint", "80,20,crimson", "--steering", steering) == 0
        expected = colorcv.colorize(
            "photo.png", model=model, device="cpu", hints=hints, steering=steering
        )
        np.testing.assert_array_equal(cv2.imread("photo.color.png"), expected)


def test_white_of_a_network(grey: np.ndarray) -> None:
    given = ("image", *FAMILIES["deoldify"], "--device", "cpu", "photo.png")
    assert run(*given, "--white", "255") == 0
    assert (cv2.imread("photo.color.png") == colorcv.colorize(
        "photo.png",
        model=colorcv.OnnxModel(DATA / "deoldify_artistic.onnx", "deoldify"),
        device="cpu",
    )).all()  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--onnx", str(DATA / "deoldify_artistic.onnx")), 2, "state --preset deoldify"),
        (("--onnx", "none.onnx"), 3, "does not exist"),
        (("--onnx", "photo.png"), 3, "photo.png"),
        (("--preset", "ddcolor"), 2, "--preset is for a model given with --onnx FILE"),
        (("--size", "64"), 2, "--size is for a model"),
        (("--onnx", "x.onnx", "--white", "1"), 2, "--white needs --preset"),
        (("--onnx", str(DATA / "ddcolor.onnx"), "--size", "8"), 2, "size must be"),
        (("--onnx", str(DATA / "ddcolor.onnx"), "--temperature", "1"), 2, "temperature"),
    ],
)
def test_wrong_options(
    grey: np.ndarray,
    arguments: tuple[str, ...],
    code: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("image", *arguments, "photo.png") == code
    assert message in capsys.readouterr().err


def test_model_and_onnx_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("image", "--model", "lite", "--onnx", "x.onnx", "photo.png")
    assert "not allowed with" in capsys.readouterr().err


def test_info(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("info", "--onnx", str(DATA / "siggraph17.onnx")) == 0
    text = capsys.readouterr().out
    assert "input   user_ab (1, 2, ?, ?) float32" in text
    assert "preset 'siggraph17' (guessed: 1, 2, 1 channels in, 2 out), at 256x256; takes" in text
    assert run("info", "--json", "--onnx", str(DATA / "deoldify_artistic.onnx"), "--preset",
               "deoldify") == 0  # fmt: skip
    found = json.loads(capsys.readouterr().out)
    assert found["opset"] == 13
    assert found["size"] == [64, 64]
    assert found["output"] == {"kind": "rgb", "scale": 255}
    assert run("info", "--onnx", str(DATA / "deoldify_artistic.onnx")) == 2
    assert "white may be 1 or 255" in capsys.readouterr().err


def test_verbose_names_the_preset(grey: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("image", "-v", *FAMILIES["ddcolor"], "--device", "cpu", "photo.png") == 0
    err = capsys.readouterr().err
    assert "model ddcolor.onnx on cpu: requested; " in err
    assert "preset 'ddcolor' (guessed: " in err
