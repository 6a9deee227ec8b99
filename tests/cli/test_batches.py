"""Folders and lists of images: interrupts, existing outputs, earlier results, formats."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import colorcv
from colorcv.cli import parser

ROOT = Path(colorcv.__file__).parents[1]
LITE = ["image", "--model", "lite", "--device", "cpu"]


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def grey(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (20, 30), np.uint8)


def write(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(name, grey())


def run_lite(*arguments: str) -> int:
    return parser.main([*LITE, *arguments])


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
@pytest.mark.usefixtures("workdir")
def test_interrupted_run_is_continued_with_skip_existing() -> None:
    names = [f"{number:03}.png" for number in range(200)]
    write(*(f"in/{name}" for name in names))
    process = subprocess.Popen(
        [sys.executable, "-m", "colorcv", *LITE, "in", "-o", "out"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for _ in range(16):
        process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "interrupted" in err
    assert "Traceback" not in err
    finished = {path: path.stat().st_mtime_ns for path in Path("out").iterdir()}
    assert 16 <= len(finished) < 200
    assert all(cv2.imread(str(path)).shape == (20, 30, 3) for path in finished)
    done = subprocess.run(
        [sys.executable, "-m", "colorcv", *LITE, "in", "-o", "out", "--skip-existing"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == f"colorcv: skipped {len(finished)} of the inputs: their outputs exist\n"
    assert len(done.stdout.splitlines()) == 200 - len(finished)
    assert sorted(path.name for path in Path("out").iterdir()) == names
    assert all(path.stat().st_mtime_ns == time for path, time in finished.items())


@pytest.mark.usefixtures("workdir")
def test_nothing_left_to_do_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    write("a.png", "b.png")
    assert run_lite("a.png", "b.png", "-o", "new") == 0
    capsys.readouterr()
    assert run_lite("a.png", "b.png", "-o", "new") == 1
    assert "new/a.png already exists; use --force to overwrite it or --skip-existing" in (
        capsys.readouterr().err
    )
    # Not even the model is needed: zhang2016 is not available in the tests.
    assert parser.main(["image", "a.png", "b.png", "-o", "new", "--skip-existing"]) == 0
    assert capsys.readouterr().err == "colorcv: skipped 2 of the inputs: their outputs exist\n"


@pytest.mark.usefixtures("workdir")
def test_a_missing_input_beside_existing_outputs_is_still_an_error() -> None:
    write("a.png", "a.color.png")
    assert run_lite("a.png", "nowhere.png", "--skip-existing") == 1


@pytest.mark.usefixtures("workdir")
@pytest.mark.parametrize("output", ["new", "new/", "new/deeper"])
def test_output_folder_is_created(output: str) -> None:
    write("in/a.png", "b.png")
    assert run_lite("in", "-o", output) == 0
    assert run_lite("in/a.png", "b.png", "-o", output, "--skip-existing") == 0
    assert sorted(path.name for path in Path(output).iterdir()) == ["a.png", "b.png"]


@pytest.mark.usefixtures("workdir")
def test_single_file_to_a_name_without_suffix(capsys: pytest.CaptureFixture[str]) -> None:
    write("a.png")
    assert run_lite("a.png", "-o", "new") == 2
    assert "use -o new.png (or .jpg, .mp4, ...) for a file, or -o new/" in capsys.readouterr().err
    assert not Path("new").exists()


@pytest.mark.usefixtures("workdir")
def test_formats_without_colour_become_png(capsys: pytest.CaptureFixture[str]) -> None:
    write("scan.pgm")
    Path("scan.pgm").rename("bare")
    write("scan.pgm")
    assert run_lite("scan.pgm", "bare") == 0
    captured = capsys.readouterr()
    assert captured.out.split() == ["scan.color.png", "bare.color.png"]
    assert "scan.pgm: cannot write PGM; the result is PNG" in captured.err
    assert "bare: cannot write a file without suffix; the result is PNG" in captured.err
    expected = colorcv.colorize(grey(), model="lite", device="cpu")
    for name in captured.out.split():
        np.testing.assert_array_equal(cv2.imread(name), expected)


@pytest.mark.usefixtures("workdir")
@pytest.mark.parametrize("name", ["notes.txt", "no-suffix", "photo.gif"])
def test_unreadable_comes_before_unwritable(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(name).write_text("this is a text")
    for output in (["-o", "x.gif"], []):
        assert run_lite(name, *output) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert "can read" in line or "cannot read" in line
        assert "write" not in line


@pytest.mark.usefixtures("workdir")
def test_heic_is_read_where_pillow_heif_is_installed(capsys: pytest.CaptureFixture[str]) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    Path("in").mkdir(exist_ok=True)
    grey = np.repeat(np.linspace(0, 255, 64).astype(np.uint8), 48).reshape(64, 48).tobytes()
    try:
        pillow_heif.from_bytes("L", (48, 64), grey).save("in/phone.heic", quality=90)
    except (RuntimeError, ValueError) as err:
        pytest.skip(f"this pillow-heif does not write HEIC: {err}")
    assert run_lite("in", "-o", "out") == 0
    colored = cv2.imread("out/phone.png")
    assert colored.shape == (64, 48, 3)
    assert "skipped" not in capsys.readouterr().err


@pytest.mark.usefixtures("workdir")
def test_heic_and_raw_say_what_to_do(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("colorcv.cli.formats.find_spec", lambda _: None)
    for name in ("in/phone.HEIC", "in/camera.nef", "in/film.mp4", "in/scan.pdf"):
        write("in/a.png")
        Path(name).touch()
    assert run_lite("in", "-o", "out") == 0
    err = capsys.readouterr().err
    assert 'skipped in/phone.HEIC: OpenCV cannot read HEIC; pip install "colorcv[heif]", or' in err
    assert "skipped in/camera.nef: OpenCV cannot read camera raw files" in err
    assert "skipped in/film.mp4: this is a video; use colorcv video" in err
    assert run_lite("in/phone.HEIC") == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.usefixtures("workdir")
def test_one_failed_input_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_lite("nowhere.jpg") == 1
    assert capsys.readouterr().err == "colorcv: nowhere.jpg: no such file or folder\n"


@pytest.mark.usefixtures("workdir")
def test_folder_without_images_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    Path("in").mkdir()
    Path("in/notes.txt").touch()
    assert run_lite("in") == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "nothing to colour" in lines[1]


@pytest.mark.usefixtures("workdir")
def test_url_without_subcommand(capsys: pytest.CaptureFixture[str]) -> None:
    assert parser.main(["https://example.org//photo.jpg"]) == 2
    assert "colorcv image https://example.org//photo.jpg" in capsys.readouterr().err


def test_force_and_skip_existing_exclude_each_other() -> None:
    with pytest.raises(SystemExit) as stop:
        run_lite("a.png", "--force", "--skip-existing")
    assert stop.value.code == 2


def write_tiff(name: str, count: int) -> list[np.ndarray]:
    pages = [cv2.resize(grey(number), (40 + number, 30)) for number in range(count)]
    assert cv2.imwritemulti(name, pages)
    return pages


@pytest.mark.usefixtures("workdir")
def test_pages_left_out_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.tif", "b.tif"):
        write_tiff(name, 3)
    assert run_lite("a.tif", "b.tif") == 0
    err = capsys.readouterr().err
    assert "warning: a.tif has 3 pages; only the first is read" in err
    assert err.count("use --all-pages to colour all pages of a TIFF") == 1
    assert cv2.imcount("a.color.tif") == 1


@pytest.mark.usefixtures("workdir")
@pytest.mark.parametrize("flags", [[], ["--compare"]])
def test_all_pages(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    pages = write_tiff("scan.tif", 3)
    assert run_lite("scan.tif", "--all-pages", *flags) == 0
    assert capsys.readouterr().err == ""
    is_read, results = cv2.imreadmulti("scan.color.tif", flags=cv2.IMREAD_UNCHANGED)
    assert is_read
    assert len(results) == 3
    for page, result in zip(pages, results, strict=True):
        expected = colorcv.colorize(page, model="lite", device="cpu")
        if flags:
            expected = np.hstack([cv2.cvtColor(page, cv2.COLOR_GRAY2BGR), expected])
        np.testing.assert_array_equal(result, expected)


@pytest.mark.usefixtures("workdir")
def test_all_pages_need_a_tiff_output(capsys: pytest.CaptureFixture[str]) -> None:
    write_tiff("scan.tif", 2)
    assert run_lite("scan.tif", "--all-pages", "-o", "scan.png") == 1
    assert "scan.tif: --all-pages writes TIFF only, got -o scan.png" in capsys.readouterr().err
    write("photo.png")
    assert run_lite("photo.png", "--all-pages") == 0


@pytest.mark.usefixtures("workdir")
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_results_of_an_earlier_run_are_skipped(
    suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(f"in/a{suffix}")
    assert run_lite("in", "-o", "in/colored") == 0
    capsys.readouterr()
    assert run_lite("in", "-o", "again") == 0
    captured = capsys.readouterr()
    assert captured.out == f"again/a{suffix}\n"
    assert f"skipped in/colored/a{suffix}: result of an earlier run; use --force" in captured.err
    assert run_lite("in", "-o", "again", "--force") == 0
    assert len(list(Path("again").rglob("*.*"))) == 2
    # The only input of a command is coloured whatever wrote it.
    assert run_lite(f"in/colored/a{suffix}", "-o", f"named{suffix}") == 0


@pytest.mark.usefixtures("workdir")
def test_a_folder_of_results_has_nothing_to_colour(capsys: pytest.CaptureFixture[str]) -> None:
    write("in/a.png")
    assert run_lite("in", "-o", "out") == 0
    assert run_lite("out", "-o", "again") == 1
    assert "nothing to colour" in capsys.readouterr().err


@pytest.mark.usefixtures("workdir")
@pytest.mark.parametrize("output", ["taken/", "taken/deeper/a.png"])
def test_a_file_in_place_of_the_output_folder(
    output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write("a.png")
    Path("taken").write_text("precious")
    assert run_lite("a.png", "-o", output) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("colorcv: cannot write into taken")
    assert Path("taken").read_text() == "precious"


@pytest.mark.usefixtures("workdir")
def test_jfif_is_a_jpeg(capsys: pytest.CaptureFixture[str]) -> None:
    write("photo.jpg")
    Path("photo.jpg").rename("photo.jfif")
    assert run_lite("photo.jfif") == 0
    assert capsys.readouterr().out == "photo.color.jpg\n"
    assert Path("photo.color.jpg").read_bytes()[:3] == b"\xff\xd8\xff"


@pytest.mark.usefixtures("workdir")
@pytest.mark.parametrize("flags", [[], ["--keep-border-colors"]])
def test_border_stays_grey_unless_asked(flags: list[str]) -> None:
    photo = cv2.imread(str(ROOT / "examples" / "photos" / "tetons_1942.jpg"), cv2.IMREAD_GRAYSCALE)
    photo = cv2.resize(photo, (240, 180), interpolation=cv2.INTER_AREA)
    framed = cv2.copyMakeBorder(photo, 30, 30, 30, 30, cv2.BORDER_CONSTANT, value=235)
    cv2.imwrite("framed.png", framed)
    assert run_lite("framed.png", *flags) == 0
    result = cv2.imread("framed.color.png")
    colorizer = colorcv.Colorizer("lite", device="cpu")
    expected = colorizer.colorize(framed, ignore_border=False if flags else "auto")
    np.testing.assert_array_equal(result, expected)
    assert (np.ptp(result[:25].astype(int), axis=2).max() <= 1) == (not flags)
