"""Downloads by several processes at once, and by processes that are killed.

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
def server() -> Iterator[FaultyServer]:
    with FaultyServer(CONTENTS) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("COLORCV_HOME", str(tmp_path))
    monkeypatch.setenv("COLORCV_OFFLINE", "0")
    monkeypatch.setenv("no_proxy", "*")
    (tmp_path / NAME).mkdir()
    yield tmp_path / NAME
    MODELS.pop(NAME, None)


def start(folder: Path, address: str) -> subprocess.Popen[str]:
    child = [sys.executable, "-m", "tests.helpers.download_child", str(folder.parent), address]
    return subprocess.Popen(child, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = process.communicate(timeout=60)
    return process.returncode, output


def kept(folder: Path) -> int:
    return max((path.stat().st_size for path in parts(folder)), default=0)


def test_eight_processes_at_once_download_once(folder: Path, server: FaultyServer) -> None:
    server.pace.seconds = 0.05  # about a second for the weights: all eight are there by then
    processes = [start(folder, f"{server.base}/correct") for _ in range(8)]
    assert [finish(process) for process in processes] == [(0, "ready\n")] * 8
    check_folder(folder)
    assert (folder / WEIGHTS).read_bytes() == CONTENT
    assert sorted(request.path for request in server.log) == sorted(
        f"/correct/{name}" for name in CONTENTS
    )


def test_eight_processes_without_locks_get_the_right_file(
    folder: Path, server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a file system that has none; threads here, which share nothing but the folder."""

    def no_locks(fd: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(locks, "_try_lock", no_locks)
    register({name: [server.url("correct", name)] for name in CONTENTS})
    part_path(folder).write_bytes(CONTENT[:1000])  # perhaps somebody's: nobody may touch it
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


def test_a_part_without_locks_is_gone_on_with_when_it_is_old(
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


def test_the_part_of_a_living_process_is_left_alone(folder: Path, server: FaultyServer) -> None:
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


def test_a_holder_that_hangs_is_not_waited_for_forever(
    folder: Path, server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "LOCK_TIMEOUT_S", 0.3)
    write_small_files(folder)
    register({WEIGHTS: [server.url("correct", WEIGHTS)]})
    told: list[int] = []
    part_path(folder, "1-alive").write_bytes(CONTENT[:1000])
    with (folder / locks.LOCK_NAME).open("w") as holder, part_path(folder, "1-alive").open() as its:
        assert locks.lock(holder.fileno())
        assert locks.lock(its.fileno())
        download(NAME, progress=lambda done, total, name: told.append(done))
    assert (folder / WEIGHTS).read_bytes() == CONTENT
    assert told[0] == 1000  # the other process's progress, while it was waited for
    assert told[-1] == SIZE


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
def test_a_killed_process_is_gone_on_from_where_it_was(folder: Path, server: FaultyServer) -> None:
    write_small_files(folder)
    first = start(folder, f"{server.base}/stall@0.5,correct")
    try:
        end = time.monotonic() + 30
        while kept(folder) < SIZE // 2 and time.monotonic() < end:
            time.sleep(0.01)
    finally:
        first.kill()
        finish(first)
    assert kept(folder) == SIZE // 2
    assert not (folder / WEIGHTS).exists()
    assert finish(start(folder, f"{server.base}/stall@0.5,correct")) == (0, "ready\n")
    assert [(request.start, request.sent) for request in server.log] == [
        (0, SIZE // 2),
        (SIZE // 2, SIZE // 2),
    ]
    check_folder(folder)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
def test_random_kills_end_with_no_file_or_the_right_one(folder: Path, server: FaultyServer) -> None:
    """Only the right bytes under the final name, and no byte that is here asked for again."""
    write_small_files(folder)
    chance = random.Random(KILLS)
    server.pace.seconds = 0.004
    started = killed = finished = 0
    while killed < KILLS:
        before, started = kept(folder), started + 1
        # A path of its own: what a killed process asked may come into the log late.
        process = start(folder, f"{server.base}/correct/{started}")
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(chance.uniform(0, 0.15))
        process.kill()
        code, _ = finish(process)
        killed += code == -signal.SIGKILL
        check_folder(folder)
        mine = [each.start for each in server.log if each.path == f"/correct/{started}/{WEIGHTS}"]
        assert mine in ([before], [])
        assert kept(folder) >= before or (folder / WEIGHTS).exists()
        if (folder / WEIGHTS).exists():
            finished += 1
            (folder / WEIGHTS).unlink()
    assert finish(start(folder, f"{server.base}/correct")) == (0, "ready\n")
    assert (folder / WEIGHTS).read_bytes() == CONTENT
    check_folder(folder)
    assert finished or KILLS < 20
