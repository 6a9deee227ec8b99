"""A one-file program, the Docker image's description, the version, and the docs."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

import colorcv

ROOT = Path(__file__).parents[1]
PHOTO = ROOT / "examples" / "photos" / "saratoga_broadway_1900s.jpg"


@pytest.mark.packaging
@pytest.mark.timeout(1500)
def test_one_file_program(tmp_path: Path) -> None:
    """Build the quickstart as one file with the lite model, and run it without Python."""
    pytest.importorskip("PyInstaller", reason="PyInstaller builds the program")
    script = ROOT / "examples" / "quickstart.py"
    options = ["--onefile", "--noconfirm", "--collect-data", "colorcv", "--name", "colorize"]
    # Packages that may be installed here, and that the program does not need.
    unneeded = ["av", "tqdm", "scipy", "skimage", "matplotlib", "IPython", "distributed", "onnx"]
    for module in unneeded:
        options += ["--exclude-module", module]
    subprocess.run(
        [sys.executable, "-m", "PyInstaller", *options, str(script)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=True,
        timeout=1200,
    )
    program = next((tmp_path / "dist").iterdir())
    assert program.stat().st_size < 200e6
    away = tmp_path / "away"
    away.mkdir()
    shutil.copy(PHOTO, away / "photo.jpg")
    for folder in ("build", "home"):
        shutil.rmtree(tmp_path / folder, ignore_errors=True)
    environment = {"COLORCV_OFFLINE": "1", "HOME": str(away), "TMPDIR": str(tmp_path)}
    if os.name == "nt":
        environment |= {name: os.environ[name] for name in ("SYSTEMROOT", "TEMP")}

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program, *arguments],
            cwd=away,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )

    usage = call()
    assert usage.returncode == 2
    assert "usage: colorize" in usage.stderr
    assert "Traceback" not in usage.stderr + call("none.jpg").stderr
    done = call("photo.jpg", "result.png")
    assert done.returncode == 0, done.stderr
    expected = colorcv.colorize(PHOTO, model="lite")
    result = cv2.imread(str(away / "result.png"))
    assert abs(result.astype(int) - expected).max() <= 1
    print(f"{program.name}: {program.stat().st_size / 1e6:.0f} MB")  # noqa: T201


def test_dockerfile_is_short_and_copies_existing_files() -> None:
    """Check what can be checked without a Docker engine."""
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    assert len(lines) < 30
    context = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copies = [line for line in lines if line.startswith("COPY") and "--from" not in line]
    copied = [name for line in copies for name in line.split()[1:-1]]
    assert copied
    for name in copied:
        assert (ROOT / name).exists(), name
        assert f"!{name}" in context
    # The stage that is kept takes nothing but what the first one installed.
    stages = [index for index, line in enumerate(lines) if line.startswith("FROM ")]
    assert len(stages) == 2
    assert not any(line.startswith("RUN pip") for line in lines[stages[1] :])
    installed = next(line for line in lines if "opencv-python-headless" in line).split()
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    needed = re.findall(r'"([a-z-]+)', re.search(r"\ndependencies = \[(.*)\]", project)[1])
    assert set(needed) - {"opencv-python"} <= set(installed)


def test_version_is_the_same_everywhere() -> None:
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.+)$", changes, re.MULTILINE)
    released = [heading for heading in headings if heading != "Unreleased"]
    assert headings in (released, ["Unreleased", *released])
    assert all(re.fullmatch(r"\d+\.\d+\.\d+ \(\d{4}-\d\d-\d\d\)", h) for h in released)
    assert released[0].split()[0] == colorcv.__version__
    groups = re.findall(r"^### (.+)$", changes, re.MULTILINE)
    assert set(groups) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {colorcv.__version__}\n" in citation


def test_files_that_the_docs_name_exist() -> None:
    pages = [*(ROOT / "docs").glob("*.rst"), *(ROOT / "examples").rglob("*.md")]
    pages += [ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
    named = {
        name.rstrip("/.")
        for page in pages
        for name in re.findall(
            r"\b(?:examples|docs|tests|benchmarks)/[\w./-]+", page.read_text("utf-8")
        )
    }
    made_by_commands = {"docs/_build", "benchmarks/RESULTS.md"}
    assert len(named) > 5
    assert not [name for name in named - made_by_commands if not (ROOT / name).exists()]


def test_list_of_messages_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "make_errors.py", "--check"], timeout=120, check=False
    )
    assert done.returncode == 0, "run `python docs/make_errors.py` and commit docs/errors.rst"


def test_list_of_messages_finds_every_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small package: errors that are raised and returned, f-strings, warnings, notes."""
    spec = importlib.util.spec_from_file_location("make_errors", ROOT / "docs" / "make_errors.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "make_errors", module)
    spec.loader.exec_module(module)
    package = tmp_path / "colorcv"
    package.mkdir()
    (package / "errors.py").write_text("class ImageError(Exception): ...\n")
    (package / "a.py").write_text(
        "def f(path, size, result):\n"
        "    raise ImageError(f'{path.name}: expected {size:.1f} bytes, ' f'got {len(path)}')\n"
        "def g():\n"
        "    advice = 'try again' if x else 'give up'\n"
        "    logger.warning('%s is damaged', g)\n"
        "    result.notes.append('audio was dropped')\n"
        "    return ImageError('cannot read: ' + advice)\n"
    )
    page = tmp_path / "errors.rst"
    page.write_text("By hand.\n")
    for name, value in (("ROOT", tmp_path), ("PACKAGE", package), ("PAGE", page)):
        monkeypatch.setattr(module, name, value)
    made = module.make_page()
    assert made.startswith("By hand.\n")
    for text in (
        "``{name}: expected {size} bytes, got {path}``",
        "``cannot read: try again | give up``",
        "``{...} is damaged``",
        "``audio was dropped``",
    ):
        assert f"    - {text}\n" in made
    page.write_text(made)
    assert module.make_page() == made


def test_docs_build_without_warnings(tmp_path: Path) -> None:
    pytest.importorskip("sphinx", reason="Sphinx builds the docs")
    pytest.importorskip("myst_parser", reason="Sphinx reads the Markdown pages with it")
    pytest.importorskip("furo", reason="the docs' theme")
    strict = ["-W", "--keep-going", "-q", "-E"]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *strict, str(ROOT / "docs"), str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    api = (tmp_path / "api.html").read_text(encoding="utf-8")
    missing = [name for name in colorcv.__all__ if f'id="colorcv.{name}"' not in api]
    assert not missing
