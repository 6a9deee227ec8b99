"""The command without some of its standard streams, and without what OpenCV prints on them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="a shell that closes streams")

ROOT = Path(__file__).parents[2]


def without_log_level() -> dict[str, str]:
    """Return the environment without what the command sets in its own process."""
    return {k: v for k, v in os.environ.items() if k != "OPENCV_LOG_LEVEL"}


def run(tmp_path: Path, arguments: str, redirections: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command in a shell in a folder with `photo.png`, of 40 x 30 pixels."""
    cv2.imwrite(str(tmp_path / "photo.png"), np.arange(1200, dtype=np.uint8).reshape(30, 40))
    return subprocess.run(
        ["/bin/sh", "-c", f'"{sys.executable}" -m colorcv {arguments} {redirections}'],
        cwd=tmp_path,
        env=without_log_level() | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "redirections", "code", "says"),
    [
        ("image photo.png --model lite", ">&-", 1, "cannot write to standard output: Bad file"),
        ("image - --model lite", "<photo.png >&-", 1, "cannot write to standard output: Bad file"),
        ("image - --model lite", "<&-", 1, "standard input is empty"),
        ("image photo.png --model lite", "2>&-", 0, ""),
        ("image photo.png --model lite -o c.png", "<&- 2>&-", 0, ""),
        ("image nothing.png --model lite", "<&- >&- 2>&-", 1, ""),
    ],
)
def test_closed_streams(
    arguments: str, redirections: str, code: int, says: str, tmp_path: Path
) -> None:
    done = run(tmp_path, arguments, redirections)
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    for name in ("photo.color.png", "c.png"):  # nothing was printed into the result
        if (tmp_path / name).exists():
            assert (tmp_path / name).read_bytes().endswith(b"IEND\xaeB`\x82")
            assert cv2.imread(str(tmp_path / name)).shape == (30, 40, 3)


def test_errors_of_opencv_are_printed_once(tmp_path: Path) -> None:
    """A WebP has at most 16,383 pixels a side; OpenCV 4.14 and 5 log it in lines of their own."""
    cv2.imwrite(str(tmp_path / "wide.png"), np.arange(17_000, dtype=np.uint8)[np.newaxis])
    done = run(tmp_path, "image wide.png --model lite -o wide.webp")
    lines = [line for line in done.stderr.splitlines() if "two values" not in line]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("colorcv: wide.webp: OpenCV cannot write 17000x1 pixels")
    verbose = run(tmp_path, "image wide.png --model lite -o wide.webp -v")
    code = "import cv2, numpy; cv2.imencode('.webp', numpy.zeros((1, 17_000), numpy.uint8))"
    alone = subprocess.run(
        [sys.executable, "-c", code],
        env=without_log_level(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ("loadsave.cpp" in verbose.stderr) == ("loadsave.cpp" in alone.stderr)


def test_pipe_in_place_of_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    done = run(tmp_path, "image pipe.png --model lite")
    assert done.returncode == 1
    assert "pipe.png is a device or a pipe" in done.stderr
    assert "- is standard input" in done.stderr
