"""Downloads in several processes at once, and in processes that are killed.

``COLORCV_TEST_KILLS=200 pytest tests/models/test_download_processes.py`` kills 200 times, not 20.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from colorcv.models import download
from colorcv.models.registry import MODELS
from colorcv.models.transfer import locks, partial
from tests.helpers.faulty_server import FaultyServer
from tests.helpers.model_files import (
    CONTENTS,
    NAME,
    WEIGHTS,
    check_folder,
    part_path,
    parts,
    register,
    write_small_files,
)

CONTENT = CONTENTS[WEIGHTS]
SIZE = len(CONTENT)
KILLS = int(os.environ.get("COLORCV_TEST_KILLS", "20"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("COLORCV_HOME", str(tmp_path))
    monkeypatch.setenv("COLORCV_OFFLINE", "0")
    monkeypatch.setenv("no_proxy", "*")
    (tmp_path / NAME).mkdir()
    yield tmp_path / NAME
    MODELS.pop(NAME, None)


def start(folder: Path, url: str) -> subprocess.Popen[str]:
    child = [sys.executable, "-m", "tests.helpers.download_child", str(folder.parent), url]
    return subprocess.Popen(child, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True)


def wait_for(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = process.communicate(timeout=60)
    return process.returncode, output


def partial_bytes(folder: Path) -> int:
    return max((path.stat().st_size for path in parts(folder)), default=0)


def test_eight_processes_at_once_download_once(folder: Path, server: FaultyServer) -> None:
    server.pace.seconds = 0.05  # about 1 s for the weights, so that the others wait
    processes = [start(folder, f"{server.base}/correct") for _ in range(8)]
    assert [wait_for(process) for process in processes] == [(0, "ready\n")] * 8
    check_folder(folder)
    assert (folder / WEIGHTS).read_bytes() == CONTENT
    assert sorted(request.path for request in server.log) == sorted(
        f"/correct/{name}" for name in CONTENTS
    )


def test_eight_processes_without_locks_get_the_right_file(
    folder: Path, server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a file system without locks; threads here, which share only the folder."""

    def no_locks(fd: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(locks, "_try_lock", no_locks)
    register({name: [server.url("correct", name)] for name in CONTENTS})
    part_path(folder).write_bytes(
        CONTENT[:1000]
    )  # may belong to a running process: must not be touched
    server.pace.seconds = 0.002
    errors: list[BaseException] = []

    def work() -> None:
        try:
            download(NAME)
        except BaseException as err:
            errors.append(err)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors
    assert (folder / WEIGHTS).read_bytes() == CONTENT
    assert parts(folder) == [part_path(folder)]
    assert part_path(folder).read_bytes() == CONTENT[:1000]


def test_an_old_partial_file_is_resumed_without_locks(
    folder: Path, server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(fd: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(locks, "_try_lock", no_locks)
    write_small_files(folder)
    register({WEIGHTS: [server.url("correct", WEIGHTS)]})
    part_path(folder).write_bytes(CONTENT[:1000])
    long_ago = time.time() - 2 * partial.STALE_AFTER_S
    os.utime(part_path(folder), (long_ago, long_ago))
    download(NAME)
    assert [request.start for request in server.log] == [1000]
    check_folder(folder)


def test_the_partial_file_of_a_running_process_is_left_alone(
    folder: Path, server: FaultyServer
) -> None:
    write_small_files(folder)
    register({WEIGHTS: [server.url("correct", WEIGHTS)]})
    path = part_path(folder, "1-alive")
    with path.open("wb") as alive:
        alive.write(CONTENT[:1000])
        alive.flush()
        assert locks.lock(alive.fileno())
        download(NAME)
        assert path.read_bytes() == CONTENT[:1000]
    assert [request.start for request in server.log] == [0]


def test_waiting_for_a_process_that_hangs_ends(
    folder: Path,
    server: FaultyServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(locks, "LOCK_TIMEOUT_S", 0.4)
    monkeypatch.setattr(locks, "NOTICE_AFTER_S", 0.1)
    write_small_files(folder)
    register({WEIGHTS: [server.url("correct", WEIGHTS)]})
    seen: list[int] = []
    part_path(folder, "1-alive").write_bytes(CONTENT[:1000])
    with (folder / locks.LOCK_NAME).open("w") as holder, part_path(folder, "1-alive").open() as its:
        assert locks.lock(holder.fileno())
        assert locks.lock(its.fileno())
        download(NAME, progress=lambda done, total, name: seen.append(done))
    assert (folder / WEIGHTS).read_bytes() == CONTENT
    assert seen[0] == 1000  # progress of the other process, while waiting for it
    assert seen[-1] == SIZE
    assert caplog.messages == [
        f"waiting for another process that downloads to {folder}",
        f"the process that downloads to {folder} has made no progress for 0 s; downloading here "
        "too",
    ]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
def test_the_download_of_a_killed_process_is_resumed(folder: Path, server: FaultyServer) -> None:
    write_small_files(folder)
    first = start(folder, f"{server.base}/stall@0.5,correct")
    try:
        end = time.monotonic() + 30
        while partial_bytes(folder) < SIZE // 2 and time.monotonic() < end:
            time.sleep(0.01)
    finally:
        first.kill()
        wait_for(first)
    assert partial_bytes(folder) == SIZE // 2
    assert not (folder / WEIGHTS).exists()
    assert wait_for(start(folder, f"{server.base}/stall@0.5,correct")) == (0, "ready\n")
    assert [(request.start, request.sent) for request in server.log] == [
        (0, SIZE // 2),
        (SIZE // 2, SIZE // 2),
    ]
    check_folder(folder)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
def test_random_kills_leave_no_file_or_the_right_one(folder: Path, server: FaultyServer) -> None:
    """The final name only ever holds the right bytes, and no byte is requested twice."""
    write_small_files(folder)
    rng = random.Random(KILLS)
    server.pace.seconds = 0.004
    started = killed = finished = 0
    while killed < KILLS:
        before, started = partial_bytes(folder), started + 1
        # A path of its own: a request of a killed process may be logged late.
        process = start(folder, f"{server.base}/correct/{started}")
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0, 0.15))
        process.kill()
        code, _ = wait_for(process)
        killed += code == -signal.SIGKILL
        check_folder(folder)
        starts = [each.start for each in server.log if each.path == f"/correct/{started}/{WEIGHTS}"]
        assert starts in ([before], [])
        assert partial_bytes(folder) >= before or (folder / WEIGHTS).exists()
        if (folder / WEIGHTS).exists():
            finished += 1
            (folder / WEIGHTS).unlink()
    assert wait_for(start(folder, f"{server.base}/correct")) == (0, "ready\n")
    assert (folder / WEIGHTS).read_bytes() == CONTENT
    check_folder(folder)
    assert finished or KILLS < 20
