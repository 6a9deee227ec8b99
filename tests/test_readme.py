"""The snippets and commands of the README run as they are, from a checkout."""

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

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    line.split("  #")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.startswith(("colorcv ", "python examples/"))
]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("video")
    run([sys.executable, str(ROOT / "examples" / "sample_video.py")], folder)
    return folder / "film.mp4"


@pytest.fixture
def checkout(tmp_path: Path, video: Path) -> Path:
    """Return a folder with the sample photos, where the README expects them, and a video."""
    (tmp_path / "examples").mkdir()
    shutil.copytree(ROOT / "examples" / "photos", tmp_path / "examples" / "photos")
    shutil.copy(ROOT / "examples" / "sample_video.py", tmp_path / "examples")
    shutil.copy(video, tmp_path)
    return tmp_path


def run(arguments: list[str], folder: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        arguments, cwd=folder, env=environment, timeout=300, capture_output=True, text=True
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def contents(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def check_color(path: Path) -> None:
    if path.suffix in (".jpg", ".png"):
        frame = cv2.imread(str(path))
    else:
        is_read, frame = cv2.VideoCapture(str(path)).read()
        assert is_read, path.name
    assert frame is not None
    assert frame.std(axis=2).max() > 5, f"{path.name} has no colour"


def check_results(folder: Path, before: dict[Path, int]) -> None:
    """Check that coloured files were written, and that the samples are as they were."""
    after = contents(folder)
    written = {path for path, time in after.items() if before.get(path) != time}
    assert written
    assert not [path for path in written if path.is_relative_to(folder / "examples")]
    for path in written:
        check_color(path)


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_snippet(snippet: str, checkout: Path) -> None:
    before = contents(checkout)
    run([sys.executable, "-c", snippet], checkout)
    check_results(checkout, before)


@pytest.mark.parametrize("line", COMMANDS)
def test_command(line: str, checkout: Path) -> None:
    """Run through the shell, with redirections."""
    python = shlex.quote(sys.executable)
    before = contents(checkout)
    command = re.sub(r"^python ", f"{python} ", re.sub(r"^colorcv", f"{python} -m colorcv", line))
    run(["sh", "-c", command], checkout)
    if "sample_video.py" in line:
        assert cv2.VideoCapture(str(checkout / "film.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 72
    elif not line.startswith("colorcv info"):
        check_results(checkout, before)


def test_first_command(checkout: Path) -> None:
    """Without its installation, which the wheel's tests do."""
    line = README.split("<!-- colour-the-sample -->\n```sh\n")[1].splitlines()[0]
    install, _, command = line.partition(" && ")
    assert install == "python -m pip install ."
    before = contents(checkout)
    words = shlex.split(command)
    assert words[0] == "colorcv"
    run([sys.executable, "-m", *words], checkout)
    check_results(checkout, before)


def test_linked_files_exist() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def test_missing_weights_are_stated_beside_the_models() -> None:
    table = README.index('| | `model="zhang2016"` (default)')
    assert 0 < README.index("Not tested with its real weights") - table < 1500


def test_quickstart_example(tmp_path: Path) -> None:
    photo = str(ROOT / "examples" / "photos" / "tetons_1942.jpg")
    run([sys.executable, str(ROOT / "examples" / "quickstart.py"), photo], tmp_path)
    assert cv2.imread(str(tmp_path / "colored.jpg")).std(axis=2).max() > 5
