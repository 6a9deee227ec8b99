"""The examples that need no browser and no cluster do what they say, run as people run them."""

from __future__ import annotations

import base64
import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import colorcv

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
PHOTOS = EXAMPLES / "photos"


def run(script: str, *arguments: object, cwd: Path, code: int = 0) -> subprocess.CompletedProcess:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / script), *map(str, arguments)],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == code, done.stderr
    return done


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """A small tree: a JPEG, a 16-bit TIFF under a name that is not ASCII, and a broken file."""
    grey = cv2.imread(str(PHOTOS / "tetons_1942.jpg"), cv2.IMREAD_GRAYSCALE)
    small = cv2.resize(grey, (120, 90), interpolation=cv2.INTER_AREA)
    album = tmp_path / "scans" / "Großmutter"
    album.mkdir(parents=True)
    (tmp_path / "scans" / "lake.jpg").write_bytes(cv2.imencode(".jpg", small)[1])
    (album / "été.tif").write_bytes(cv2.imencode(".tif", small.astype(np.uint16) * 257)[1])
    (album / "broken.png").write_bytes(b"not a picture")
    return tmp_path / "scans"


def test_folder_colours_a_tree_and_reports_each_file(scans: Path, tmp_path: Path) -> None:
    pytest.importorskip("tqdm", reason="folder.py draws its bar with tqdm")
    colored = tmp_path / "colored"
    done = run("folder.py", scans, colored, cwd=tmp_path, code=1)
    assert "Großmutter/broken.png: failed" in done.stderr
    report = {line["file"]: line for line in read_table(colored / "report.csv")}
    assert set(report) == {"lake.jpg", "Großmutter/été.tif", "Großmutter/broken.png"}
    assert report["lake.jpg"]["outcome"] == "coloured"
    assert (report["lake.jpg"]["width"], report["lake.jpg"]["height"]) == ("120", "90")

    tiff = np.frombuffer((colored / "Großmutter" / "été.tif").read_bytes(), np.uint8)
    picture = cv2.imdecode(tiff, cv2.IMREAD_UNCHANGED)
    assert picture.dtype == np.uint16
    expected = colorcv.colorize(scans / "Großmutter" / "été.tif", model="lite")
    np.testing.assert_array_equal(picture, expected)
    assert not [path for path in colored.rglob("*") if path.name.endswith(".part")]


def test_folder_resumes_where_it_stopped(scans: Path, tmp_path: Path) -> None:
    pytest.importorskip("tqdm", reason="folder.py draws its bar with tqdm")
    (scans / "Großmutter" / "broken.png").unlink()
    colored = tmp_path / "colored"
    run("folder.py", scans, colored, cwd=tmp_path)
    (colored / "lake.jpg").unlink()
    tiff = (colored / "Großmutter" / "été.tif").stat()
    run("folder.py", scans, colored, cwd=tmp_path)
    outcomes = {line["file"]: line["outcome"] for line in read_table(colored / "report.csv")}
    assert outcomes == {"lake.jpg": "coloured", "Großmutter/été.tif": "exists"}
    assert (colored / "Großmutter" / "été.tif").stat() == tiff


def test_folder_refuses_results_inside_the_scans(scans: Path, tmp_path: Path) -> None:
    pytest.importorskip("tqdm", reason="folder.py draws its bar with tqdm")
    done = run("folder.py", scans, scans / "colored", cwd=tmp_path, code=2)
    assert "choose a folder outside" in done.stderr
    assert not (scans / "colored").exists()


def test_compare_page_stands_alone(scans: Path, tmp_path: Path) -> None:
    shutil.move(scans / "lake.jpg", scans / "<b>lake & sea.jpg")
    shutil.copy(scans / "Großmutter" / "été.tif", scans)
    run("compare_pages.py", scans, tmp_path / "page.html", "--side", 100, cwd=tmp_path)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("<input type=") == 2
    assert "<b>" not in page
    assert "&lt;b&gt;lake &amp; sea" in page
    addresses = re.findall(r'(?:src|href)="(.*?)"', page)
    assert len(addresses) == 4
    assert all(address.startswith("data:image/jpeg;base64,") for address in addresses)


def test_compare_page_overwrites_only_when_asked(scans: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("mine", encoding="utf-8")
    refused = run("compare_pages.py", scans, cwd=tmp_path, code=2)
    assert "already exists; use --force" in refused.stderr
    assert page.read_text(encoding="utf-8") == "mine"
    shutil.copy(scans / "lake.jpg", scans / "lake.color.jpg")  # a result, not a photo
    run("compare_pages.py", scans, "--force", cwd=tmp_path)
    assert page.read_text(encoding="utf-8").count("<figure>") == 1


def test_quickstart_shows_usage_and_plain_errors(tmp_path: Path) -> None:
    photo = PHOTOS / "tetons_1942.jpg"
    for arguments, code, message in (
        ((), 2, "the following arguments are required: photo"),
        ((tmp_path / "none.jpg",), 1, "none.jpg"),
        ((photo, tmp_path / "none" / "result.jpg"), 1, "cannot write"),
        ((photo, tmp_path / "result.none"), 1, "cannot write"),
    ):
        done = run("quickstart.py", *arguments, cwd=tmp_path, code=code)
        assert message in done.stderr
        assert "Traceback" not in done.stderr
    assert "usage" in run("quickstart.py", "--help", cwd=tmp_path).stdout
    assert not list(tmp_path.iterdir())


def test_compare_page_of_no_photos_is_an_error(tmp_path: Path) -> None:
    done = run("compare_pages.py", tmp_path, tmp_path / "page.html", cwd=tmp_path, code=2)
    assert "no photos" in done.stderr
    assert not (tmp_path / "page.html").exists()


def colour_scenes() -> list[np.ndarray]:
    """A muted and a strong colour field with some texture; BGR."""
    rng = np.random.default_rng(3)
    texture = rng.normal(0, 8, (96, 128, 1))
    scenes = []
    for blue, green, red in ((150, 140, 120), (40, 90, 200)):
        rows = np.linspace(0.7, 1.1, 96)[:, None, None]
        scenes.append(np.clip(np.array([blue, green, red]) * rows + texture, 0, 255))
    return [scene.astype(np.uint8) for scene in scenes]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with the colour scenes."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, scene in enumerate(colour_scenes()):
        assert cv2.imwrite(str(folder / f"{i}.png"), scene)
    return folder


def test_evaluate_measures_what_it_says(photos: Path, tmp_path: Path) -> None:
    """The table against the definitions, written out again in float64."""
    pytest.importorskip("skimage", reason="evaluate.py measures with scikit-image")
    (photos / "broken.png").write_bytes(b"nothing")
    chart_of = ("--saturations", 0.5, 1, 2)
    done = run("evaluate.py", photos, "--output", tmp_path / "lite", *chart_of, cwd=tmp_path)
    assert "MEAN" in done.stdout
    assert "broken.png" in done.stderr

    lines = read_table(tmp_path / "lite.csv")
    assert [line["photo"] for line in lines] == ["0", "1"]
    for line, scene in zip(lines, colour_scenes(), strict=True):
        grey = colorcv.colorize(scene, model="lite", saturation=0)
        colored = colorcv.colorize(grey, model="lite")
        for name, picture in (("psnr_grey", grey), ("psnr", colored)):
            error = np.mean((picture.astype(np.float64) - scene) ** 2)
            assert float(line[name]) == pytest.approx(10 * np.log10(255**2 / error), abs=1e-3)
        true_lab, lab = (
            cv2.cvtColor((picture / 255).astype(np.float32), cv2.COLOR_BGR2LAB)
            for picture in (scene, colored)
        )
        ab_error = np.hypot(*np.moveaxis((true_lab - lab)[..., 1:], 2, 0)).mean()
        assert float(line["ab_error"]) == pytest.approx(ab_error, abs=0.1)
        assert 0 < float(line["ssim"]) <= 1
        assert 0 < float(line["ciede2000"]) < 60
        chroma = np.hypot(*np.moveaxis(true_lab[..., 1:], 2, 0)).mean()
        assert float(line["error"]) == pytest.approx(ab_error / chroma, abs=0.02)
        assert float(line["patchiness"]) > 0
    sheet = cv2.imread(str(tmp_path / "lite.jpg"))
    assert sheet is not None
    assert sheet.std(axis=2).max() > 5
    assert done.stdout.count("colourfulness") == 4  # asked for, and the chart's three
    chart = cv2.imread(str(tmp_path / "lite.chart.png"))
    assert chart is not None
    assert chart.std(axis=2).max() > 20


def test_evaluate_at_equal_colorfulness_and_own_files(photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("skimage", reason="evaluate.py measures with scikit-image")
    lite = Path(colorcv.__file__).parent / "models" / "lite"
    files = [next(lite.glob(pattern)) for pattern in ("*.prototxt", "*.caffemodel", "*.npy")]
    factor = colorcv.Colorizer("lite").default_saturation
    given = ("--saturations", factor, "--colorfulness", 0.3, "--output", tmp_path / "out")
    own = run("evaluate.py", photos, "--files", *files, *given, cwd=tmp_path).stdout.splitlines()
    named = run("evaluate.py", photos, *given, cwd=tmp_path).stdout.splitlines()
    # Own files have factor 1: the bundled model's factor gives what its saturation 1 does.
    before, measured = own[-3].split(": ", 1)
    assert before == f"saturation {factor:g}"
    assert named[-4] == f"saturation 1: {measured}"
    for line, saturation in ((own[-2], factor), (named[-2], 1)):
        found = re.match(r"saturation ([0-9.]+): .*colourfulness 0\.(29|30|31),", line)
        assert found
        assert float(found[1]) != saturation
    assert float(own[-2].split()[1][:-1]) == pytest.approx(
        factor * float(named[-2].split()[1][:-1]), rel=0.03
    )


def test_evaluate_hints_and_references(tmp_path: Path) -> None:
    """Hints at known places, written out again; a half that resembles the other gains."""
    pytest.importorskip("skimage", reason="evaluate.py measures with scikit-image")
    photos = tmp_path / "photos"
    photos.mkdir()
    scene = np.hstack([colour_scenes()[0]] * 2)
    assert cv2.imwrite(str(photos / "0.png"), scene)
    options = ("--hints", 1, 12, "--reference", "--saturations", 1)
    run("evaluate.py", photos, "--output", tmp_path / "lite", *options, cwd=tmp_path)
    (line,) = read_table(tmp_path / "lite.csv")

    grey = colorcv.colorize(scene, model="lite", saturation=0)
    places = np.random.default_rng(0).permutation(grey.shape[0] * grey.shape[1])[:12]
    rows, columns = np.divmod(places, grey.shape[1])
    hints = [
        colorcv.Hint(int(x), int(y), scene[y, x].tolist())
        for y, x in zip(rows, columns, strict=True)
    ]
    colored = colorcv.colorize(grey, model="lite", hints=hints)
    error = np.mean((colored.astype(np.float64) - scene) ** 2)
    assert float(line["psnr_12"]) == pytest.approx(10 * np.log10(255**2 / error), abs=0.05)
    assert float(line["psnr_12"]) > float(line["psnr"]) + 3
    assert float(line["psnr_reference"]) > float(line["psnr_half"]) + 3


def test_evaluate_grey_photos(tmp_path: Path) -> None:
    """Photos without colour have no error relative to grey, and divide by nothing."""
    pytest.importorskip("skimage", reason="evaluate.py measures with scikit-image")
    (tmp_path / "photos").mkdir()
    grey = np.tile(np.arange(64, dtype=np.uint8) * 4, (48, 1))
    assert cv2.imwrite(str(tmp_path / "photos" / "grey.png"), grey)
    done = run("evaluate.py", "photos", "--output", "out", cwd=tmp_path)
    assert "Warning" not in done.stderr
    (line,) = read_table(tmp_path / "out.csv")
    assert (line["error"], line["nearer"]) == ("nan", "nan")
    assert "error nan" in done.stdout
    assert not (tmp_path / "out.chart.png").exists()


def test_evaluate_gives_a_perfect_network_perfect_marks(tmp_path: Path) -> None:
    pytest.importorskip("skimage", reason="evaluate.py measures with scikit-image")
    sys.path.insert(0, str(EXAMPLES))
    try:
        import evaluate
    finally:
        sys.path.remove(str(EXAMPLES))
    original = colour_scenes()[1][..., ::-1]
    grey = cv2.cvtColor(cv2.cvtColor(original, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    marks = evaluate.measure(original, original, grey)
    assert marks["psnr"] == np.inf
    assert marks["ssim"] == pytest.approx(1)
    assert marks["ab_error"] == marks["ciede2000"] == 0
    assert marks["colorful"] == marks["colorful_true"] > 40
    assert evaluate.measures.colorfulness(grey) == 0
    # The opponent channels of pure red: rg = 255, yb = 127.5, no spread.
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 2] = 255
    assert evaluate.measures.colorfulness(red) == pytest.approx(0.3 * np.hypot(255, 127.5))


def test_notebook_shows_before_and_after(tmp_path: Path) -> None:
    nbclient = pytest.importorskip("nbclient", reason="nbclient runs the notebook")
    nbformat = pytest.importorskip("nbformat", reason="nbformat reads the notebook")
    pytest.importorskip("ipykernel", reason="the notebook's kernel")
    shutil.copytree(PHOTOS, tmp_path / "photos")
    notebook = nbformat.read(EXAMPLES / "notebook.ipynb", as_version=4)
    nbclient.NotebookClient(
        notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    shown = [
        output["data"]["image/jpeg"]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/jpeg" in output.get("data", {})
    ]
    assert len(shown) == 8
    for jpeg in shown:
        picture = cv2.imdecode(np.frombuffer(base64.b64decode(jpeg), np.uint8), cv2.IMREAD_COLOR)
        assert picture.std(axis=2).max() > 5

    def halves(jpeg: str) -> list[np.ndarray]:
        encoded = np.frombuffer(base64.b64decode(jpeg), np.uint8)
        return np.hsplit(cv2.imdecode(encoded, cv2.IMREAD_COLOR), 2)

    before, after = halves(shown[2])
    assert before.std(axis=2).mean() < 1 < after.std(axis=2).mean()
    guess, hinted = halves(shown[-2])
    leaves, shops = np.s_[30:60, 200:240], np.s_[100:140, 370:385]
    for place, is_warm in ((leaves, False), (shops, True)):
        _, green, red = (hinted[place].astype(float) - guess[place]).mean(axis=(0, 1))
        assert (red > green) == is_warm
    assert (tmp_path / "mine.color.jpg").is_file()


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Twelve frames of a slow pan, to stand in for a camera."""
    photo = cv2.imread(str(PHOTOS / "tetons_1942.jpg"))
    photo = cv2.resize(photo, (300, 240), interpolation=cv2.INTER_AREA)
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (240, 180))
    for i in range(12):
        writer.write(photo[2 * i : 2 * i + 180, 3 * i : 3 * i + 240])
    writer.release()
    return path


def read_frames(path: Path) -> list[np.ndarray]:
    capture, frames = cv2.VideoCapture(str(path)), []
    while True:
        ok, frame = capture.read()
        if not ok:
            return frames
        frames.append(frame)


@pytest.mark.parametrize("suffix", [".avi", ".mp4"])
def test_webcam_shows_before_and_after(clip: Path, tmp_path: Path, suffix: str) -> None:
    record = tmp_path / f"recorded{suffix}"
    said = run("webcam.py", "--camera", clip, "--record", record, "--no-window", cwd=tmp_path)
    assert "12 frames on cpu" in said.stdout
    pairs = read_frames(record)
    assert len(pairs) == 12
    for pair, source in zip(pairs, read_frames(clip), strict=True):
        before, after = np.hsplit(pair, 2)
        assert before.shape == source.shape
        assert before.std(axis=2).mean() < 3 < after.std(axis=2).mean() - 3
        grey = cv2.cvtColor(source, cv2.COLOR_BGR2GRAY)
        assert abs(cv2.cvtColor(before, cv2.COLOR_BGR2GRAY).astype(int) - grey).mean() < 6


def test_webcam_ends_after_so_many_frames(clip: Path, tmp_path: Path) -> None:
    record = tmp_path / "recorded.avi"
    arguments = ("--camera", clip, "--record", record, "--no-window", "--frames", 5)
    run("webcam.py", *arguments, cwd=tmp_path)
    assert len(read_frames(record)) == 5


def test_webcam_says_what_is_missing(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    assert "use --record" in run("webcam.py", "--no-window", cwd=tmp_path, code=2).stderr
    record = ("--record", tmp_path / "x.avi", "--no-window")
    absent = run("webcam.py", "--camera", tmp_path / "none.avi", *record, cwd=tmp_path, code=1)
    assert "cannot be opened" in absent.stderr
    nowhere = ("--record", tmp_path / "no folder" / "x.avi", "--no-window")
    unwritable = run("webcam.py", "--camera", clip, *nowhere, cwd=tmp_path, code=1)
    assert "cannot be written" in unwritable.stderr
