"""Threads, forks, interrupts at any time and the exit of the interpreter."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

import colorcv
from tests.helpers.faulty_server import FaultyServer
from tests.helpers.model_files import (
    CONTENTS,
    NAME,
    WEIGHTS,
    check_folder,
    parts,
    write_small_files,
)

ROOT = Path(colorcv.__file__).parents[1]
posix = pytest.mark.skipif(os.name != "posix", reason="needs signals and fork")


@pytest.fixture(scope="module")
def lite() -> colorcv.Colorizer:
    return colorcv.Colorizer("lite", device="cpu")


def greys(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [cv2.resize(rng.integers(0, 256, (6, 8), np.uint8), (80, 60)) for _ in range(count)]


def script(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_eight_threads_with_a_colorizer_each(lite: colorcv.Colorizer) -> None:
    images = greys(8)
    expected = [lite.colorize(grey) for grey in images]
    start = threading.Barrier(8)

    def work(_: int) -> list[np.ndarray]:
        start.wait()
        own = colorcv.Colorizer("lite", device="cpu")
        return [own.colorize(grey) for grey in images]

    with ThreadPoolExecutor(8) as pool:
        for results in pool.map(work, range(8)):
            for result, right in zip(results, expected, strict=True):
                np.testing.assert_array_equal(result, right)


def test_threads_with_different_input_sizes(lite: colorcv.Colorizer) -> None:
    """Each input size needs a network of its own, and only the last one is kept."""
    rng = np.random.default_rng(0)
    sizes = [lite.input_hw, (64, 64), (96, 64), (64, 128)]
    planes = [rng.random(size, np.float32) * 100 for size in sizes]
    expected = [lite.predict_ab(plane) for plane in planes]
    with ThreadPoolExecutor(8) as pool:
        for result, right in zip(pool.map(lite.predict_ab, planes * 4), expected * 4, strict=True):
            np.testing.assert_array_equal(result, right)


FORKS = """
import os, sys, threading, time
import numpy as np, colorcv
colorizer = colorcv.Colorizer("lite", device="cpu")
grey = np.random.default_rng(0).integers(0, 256, (300, 400), np.uint8)
expected = colorizer.colorize(grey)
stop = threading.Event()
def work():
    while not stop.is_set():
        colorizer.colorize(grey)
threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads:
    thread.start()
codes = []
for _ in range(8):
    child = os.fork()
    if child == 0:
        os._exit(0 if (colorizer.colorize(grey) == expected).all() else 1)
    end = time.monotonic() + 60
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended or time.monotonic() > end:
            break
        time.sleep(0.01)
    codes.append(os.waitstatus_to_exitcode(status) if ended else "hangs")
    if not ended:
        os.kill(child, 9)
stop.set()
for thread in threads:
    thread.join()
print(codes)
"""


@posix
def test_forks_while_other_threads_colorize() -> None:
    out, _ = script(FORKS).communicate(timeout=200)
    assert out == f"{[0] * 8}\n"


AT_EXIT = {
    "a-global": "",
    "a-cycle": "colorizer.me = colorizer; del colorizer",
    "a-finaliser": """
class Last:
    def __del__(self):
        self.colorizer.colorize(grey)
last = Last(); last.colorizer = colorizer; last.me = last
""",
    "frames-half-way": """
import itertools
frames = colorizer.frames(itertools.repeat(grey)); next(frames); next(frames)
""",
    "an-atexit": "import atexit; atexit.register(lambda: colorizer.colorize(grey))",
    "an-exception-that-holds-it": """
try: colorizer.colorize(None)
except Exception as err: kept = err
""",
}


@pytest.mark.parametrize("name", AT_EXIT)
def test_interpreter_exit(name: str) -> None:
    code = (
        "import numpy as np, colorcv\n"
        "grey = np.zeros((900, 1200), np.uint8)\n"
        "colorizer = colorcv.Colorizer('lite', device='cpu'); colorizer.colorize(grey)\n"
    )
    process = script(code + AT_EXIT[name])
    out, err = process.communicate(timeout=100)
    assert (process.returncode, out, err) == (0, "", "")


# Python prints and drops an exception raised inside a destructor or a callback of the collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@posix
def test_a_colorizer_works_after_interrupts_at_any_time(lite: colorcv.Colorizer) -> None:
    """Interrupts in the forward pass, while a network is built, and in the strips of an image."""

    armed = False

    def interrupt(*_: object) -> None:
        nonlocal armed
        if armed:
            armed = False
            raise KeyboardInterrupt

    grey, wide = greys(1)[0], np.full((64, 96), 50, np.float32)
    expected, expected_wide = lite.colorize(grey), lite.predict_ab(wide)
    rng = random.Random(0)
    before = signal.signal(signal.SIGALRM, interrupt)
    caught = 0
    try:
        for _ in range(25):
            try:
                armed = True
                signal.setitimer(signal.ITIMER_REAL, rng.uniform(0.001, 0.06))
                while armed:
                    lite.colorize(grey)
                    lite.predict_ab(wide)
                    lite.predict_ab(np.full((64, 64), 50, np.float32))
            except KeyboardInterrupt:
                caught += 1
            np.testing.assert_array_equal(lite.colorize(grey), expected)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert caught >= 20
    np.testing.assert_array_equal(lite.predict_ab(wide), expected_wide)


@posix
@pytest.mark.parametrize("after_s", [0.0, 0.1, 0.4])
def test_interrupting_a_folder(after_s: float, tmp_path: Path) -> None:
    """Only complete images are left, the exit code is 130, and no traceback is shown."""
    (tmp_path / "in").mkdir()
    for number, grey in enumerate(greys(200)):
        cv2.imwrite(str(tmp_path / "in" / f"{number:03}.png"), cv2.resize(grey, (800, 600)))
    command = ["image", "--model", "lite", "--device", "cpu", "in", "-o", "out"]
    with subprocess.Popen(
        [sys.executable, "-m", "colorcv", *command],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(after_s)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "interrupted" in err
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    printed = {Path(line).name for line in (first + out).splitlines()}
    assert printed <= set(written)
    assert len(written) < 200
    for name in written:
        assert cv2.imread(str(tmp_path / "out" / name)).shape == (600, 800, 3)


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with FaultyServer(CONTENTS) as running:
        yield running


def test_colorize_when_no_thread_can_be_started(
    lite: colorcv.Colorizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = cv2.resize(greys(1)[0], (1200, 900))
    expected = lite.colorize(image)

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    np.testing.assert_array_equal(lite.colorize(image), expected)


@posix
def test_interrupting_a_download(server: FaultyServer, tmp_path: Path) -> None:
    """The received bytes are kept, and the next process resumes there."""
    folder = tmp_path / NAME
    write_small_files(folder)
    server.pace.seconds = 0.1  # 2 s for the weights
    child = [
        sys.executable,
        "-m",
        "tests.helpers.download_child",
        str(tmp_path),
        f"{server.base}/correct",
    ]
    for wait_s in (0.0, 0.05, 0.1):
        before = max((path.stat().st_size for path in parts(folder)), default=0)
        with subprocess.Popen(
            child, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(wait_s)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        assert process.returncode == -signal.SIGINT
        assert "KeyboardInterrupt" in err
        check_folder(folder)
        assert not (folder / WEIGHTS).exists()
        assert max((path.stat().st_size for path in parts(folder)), default=0) >= before
    server.pace.seconds = 0
    assert subprocess.run(child, cwd=ROOT, capture_output=True, timeout=60).returncode == 0
    assert (folder / WEIGHTS).read_bytes() == CONTENTS[WEIGHTS]
    check_folder(folder)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
@pytest.mark.parametrize(
    ("kind", "warm_up", "count"),
    [("small", 40, 80), ("large", 4, 6), ("frames", 60, 120), ("built", 3, 8)],
)
def test_memory_does_not_grow(kind: str, warm_up: int, count: int) -> None:
    """Run a short `python -m tests.fuzz.soak KIND COUNT` in a process of its own."""
    options = [kind, str(count), "--warm-up", str(warm_up), "--rounds", "5"]
    command = [sys.executable, "-m", "tests.fuzz.soak", *options]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stdout + run.stderr
