"""The snippets and commands of the README run as they are."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from tests.cli.test_cli_video import make_video

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    line.split("  #")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("colorcv ")
]


@pytest.fixture
def album(tmp_path: Path) -> Path:
    for photo in (ROOT / "examples" / "photos").glob("*.jpg"):
        shutil.copy(photo, tmp_path)
    make_video(tmp_path / "film.mp4")
    return tmp_path


def run(arguments: list[str], folder: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        arguments, cwd=folder, env=environment, timeout=300, capture_output=True, text=True
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_snippet(snippet: str, album: Path) -> None:
    run([sys.executable, "-c", snippet], album)


@pytest.mark.parametrize("line", COMMANDS)
def test_command(line: str, album: Path) -> None:
    """Run through the shell, with redirections."""
    colorcv = f"{shlex.quote(sys.executable)} -m colorcv"
    before = set(album.rglob("*"))
    run(["sh", "-c", re.sub(r"^colorcv", colorcv, line)], album)
    written = [path for path in set(album.rglob("*")) - before if path.is_file()]
    if not line.startswith("colorcv info"):
        assert written
    for path in written:
        if path.suffix in (".jpg", ".png"):
            image = cv2.imread(str(path))
            assert image is not None
            assert image.std(axis=2).max() > 5, f"{path.name} has no colour"


def test_sample_of_the_first_command_exists() -> None:
    line = README.split("<!-- colour-the-sample -->\n```sh\n")[1].splitlines()[0]
    photo = next(word for word in line.split() if word.startswith("examples/"))
    assert (ROOT / photo).is_file()
    assert "--model lite" in line


def test_linked_files_exist() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def test_quickstart_example(tmp_path: Path) -> None:
    run([sys.executable, str(ROOT / "examples" / "quickstart.py")], tmp_path)
    assert cv2.imread(str(tmp_path / "colored.jpg")).std(axis=2).max() > 5
