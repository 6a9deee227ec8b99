"""The command: subcommands ``image``, ``download`` and ``info``, exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import colorcv
from colorcv.cli import images, parser

PHOTO = Path(__file__).parents[2] / "examples" / "photos" / "saratoga_broadway_1900s.jpg"


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder of the command, with a small grey image in it."""
    grey = cv2.imread(str(PHOTO), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(
        str(tmp_path / "photo.png"), cv2.resize(grey, (160, 120), interpolation=cv2.INTER_AREA)
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> int:
    return parser.main([*arguments])


def run_lite(*arguments: str) -> int:
    return run("image", "--model", "lite", "--device", "cpu", *arguments)


def run_command(*arguments: str, data: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "colorcv", *arguments],
        input=data,
        capture_output=True,
        timeout=120,
        check=False,
    )


def has_color(path: str | Path) -> bool:
    image = cv2.imread(str(path))
    return image is not None and np.ptp(image.astype(int), axis=2).max() > 10


def test_one_image(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (workdir / "photo.png").read_bytes()
    assert run_lite("photo.png") == 0
    assert capsys.readouterr().out == "photo.color.png\n"
    expected = colorcv.colorize(workdir / "photo.png", model="lite", device="cpu")
    np.testing.assert_array_equal(cv2.imread("photo.color.png"), expected)
    assert has_color("photo.color.png")
    assert (workdir / "photo.png").read_bytes() == before
    assert sorted(path.name for path in workdir.iterdir()) == ["photo.color.png", "photo.png"]


@pytest.mark.usefixtures("workdir")
def test_existing_output_needs_force(capsys: pytest.CaptureFixture[str]) -> None:
    Path("photo.color.png").write_text("precious")
    assert run_lite("photo.png") == 1
    assert Path("photo.color.png").read_text() == "precious"
    assert "--force" in capsys.readouterr().err
    assert run_lite("photo.png", "--force") == 0
    assert has_color("photo.color.png")


@pytest.mark.usefixtures("workdir")
def test_compare_writes_input_beside_result() -> None:
    assert run_lite("photo.png", "--compare") == 0
    both = cv2.imread("photo.color.png")
    assert both.shape == (120, 320, 3)
    np.testing.assert_array_equal(both[:, :160], cv2.imread("photo.png"))
    np.testing.assert_array_equal(
        both[:, 160:], colorcv.colorize("photo.png", model="lite", device="cpu")
    )


@pytest.mark.usefixtures("workdir")
def test_saturation_and_temperature_reach_the_result() -> None:
    assert run_lite("photo.png", "-o", "dull.png", "--saturation", "0") == 0
    assert run_lite("photo.png", "-o", "mean.png", "--temperature", "1000") == 0
    assert not has_color("dull.png")
    expected = colorcv.Colorizer("lite", device="cpu", temperature=1000).colorize("photo.png")
    np.testing.assert_array_equal(cv2.imread("mean.png"), expected)


def test_folder_keeps_its_tree_and_a_bad_file_does_not_stop_it(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("album/one.png", "album/deep/er/two.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes((workdir / "photo.png").read_bytes())
    Path("album/broken.jpg").write_bytes(b"<html>no photo</html>")
    Path("album/notes.txt").write_text("left alone")
    assert run_lite("album", "-o", "out") == 1
    written = sorted(path.as_posix() for path in Path("out").rglob("*") if path.is_file())
    assert written == ["out/deep/er/two.png", "out/one.png"]
    assert all(has_color(path) for path in written)
    captured = capsys.readouterr()
    assert "broken.jpg" in captured.err
    assert "skipped album/notes.txt: not a supported file format" in captured.err
    assert sorted(captured.out.split()) == written


@pytest.mark.usefixtures("workdir")
def test_16_bit_input_gives_16_bit_output() -> None:
    grey = (cv2.imread("photo.png", cv2.IMREAD_GRAYSCALE).astype(np.uint16) << 8) | 0x5A
    for name in ("deep.png", "deep.tiff"):
        cv2.imwrite(name, grey)
        assert run_lite(name, "-o", f"out.{name}") == 0
        assert cv2.imread(f"out.{name}", cv2.IMREAD_UNCHANGED).dtype == np.uint16


def test_pipes(workdir: Path) -> None:
    piped = run_command("image", "--model", "lite", "-", data=(workdir / "photo.png").read_bytes())
    assert piped.returncode == 0, piped.stderr
    colored = cv2.imdecode(np.frombuffer(piped.stdout, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(colored, colorcv.colorize("photo.png", model="lite"))


@pytest.mark.usefixtures("workdir")
@pytest.mark.parametrize(
    ("arguments", "code", "expected_text"),
    [
        pytest.param(["nowhere.png", "--model", "lite"], 1, "nowhere.png", id="no-such-file"),
        pytest.param(["photo.png", "--model", "big"], 2, "zhang2016", id="no-such-model"),
        pytest.param(["photo.png", "--model", "lite", "--device", "gpu"], 2, "device", id="device"),
        pytest.param(["photo.png"], 3, "COLORCV_OFFLINE", id="model-not-available"),
        pytest.param(["photo.png", "--model", "lite", "--saturation", "-1"], 2, "saturation",
                     id="saturation"),
        pytest.param(["photo.png", "--model", "lite", "--temperature", "0"], 2, "temperature",
                     id="temperature"),
        pytest.param(["photo.png", "--model", "lite", "-o", "x.xyz"], 1, "xyz", id="suffix"),
    ],
)  # fmt: skip
def test_exit_codes(
    arguments: list[str], code: int, expected_text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("image", *arguments) == code
    assert expected_text in capsys.readouterr().err
    assert [path.name for path in Path().iterdir()] == ["photo.png"]


@pytest.mark.parametrize("arguments", [["image"], ["image", "--nonsense", "x"], ["colour"]])
def test_usage_errors_are_two(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run(*arguments)
    assert stop.value.code == 2


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_help_and_version_import_nothing_heavy(option: str) -> None:
    code = (
        "import sys\n"
        "from colorcv.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "heavy = {'cv2', 'numpy', 'requests'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    captured = subprocess.run(
        [sys.executable, "-c", code, option], check=True, capture_output=True, timeout=60, text=True
    )
    assert "colorcv" in captured.stdout


def test_interrupted(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(images._Runner, "_colorize_image", interrupted)
    assert run_lite("photo.png") == 130
    assert "interrupted" in capsys.readouterr().err
    assert [path.name for path in workdir.iterdir()] == ["photo.png"]


def test_info_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("info", "--json", "--verify") == 0
    info = json.loads(capsys.readouterr().out)
    assert info["opencv"]["version"] == cv2.__version__
    assert info["opencv"]["line"] in (4, 5)
    assert {device["name"] for device in info["devices"]} >= {"cpu", "cuda", "opencl"}
    assert all(device["reason"] for device in info["devices"])
    models = {model["name"]: model for model in info["models"]}
    assert models["lite"]["state"] == "bundled"
    assert models["zhang2016"]["state"] == "absent"
    assert models["zhang2016"]["folder"].startswith(os.environ["COLORCV_HOME"])


def test_info_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("info") == 0
    text = capsys.readouterr().out
    assert cv2.__version__ in text
    assert "cuda" in text
    assert "zhang2016" in text


def test_download_of_a_bundled_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("download", "lite") == 0
    assert (Path(capsys.readouterr().out.strip()) / "colorcv_lite_v3.caffemodel").is_file()


def test_download_offline(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("download") == 3
    captured = capsys.readouterr().err
    assert "COLORCV_OFFLINE" in captured
    assert os.environ["COLORCV_HOME"] in captured
    assert "lite" in captured


@pytest.mark.usefixtures("workdir")
def test_input_of_another_subcommand(capsys: pytest.CaptureFixture[str]) -> None:
    Path("film.mp4").touch()
    assert run_lite("film.mp4") == 1
    assert "colorcv video" in capsys.readouterr().err
    assert run("video", "--model", "lite", "photo.png") == 1
    assert "colorcv image" in capsys.readouterr().err


@pytest.mark.usefixtures("workdir")
def test_missing_subcommand_is_suggested(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("photo.png", "--model", "lite") == 2
    assert "colorcv image photo.png --model lite" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["help"], ["help", "image"], ["-V"]])
def test_words_people_try(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run(*arguments)
    assert stop.value.code == 0
    assert "colorcv" in capsys.readouterr().out


def test_no_arguments_print_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 2
    assert "download a model" in capsys.readouterr().err


def test_info_says_how_to_get_an_absent_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("info") == 0
    assert "zhang2016: absent (colorcv download zhang2016" in capsys.readouterr().out
