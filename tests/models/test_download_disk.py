"""Downloads to disks that are full, read-only or missing."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from colorcv.errors import DownloadError
from colorcv.models import download, models, resolve
from colorcv.models.registry import MODELS
from colorcv.models.transfer import downloader, partial
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


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("COLORCV_HOME", str(tmp_path))
    monkeypatch.setenv("COLORCV_OFFLINE", "0")
    monkeypatch.setenv("no_proxy", "*")
    yield tmp_path
    MODELS.pop(NAME, None)


@pytest.fixture
def small_disk(home: Path) -> Iterator[Path]:
    """Mount a tmpfs of 200 kB as the cache folder; only root on Linux can."""
    if sys.platform != "linux" or shutil.which("mount") is None:
        pytest.skip("no tmpfs here; test_a_file_size_limit runs in any case")
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(home)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"may not mount a tmpfs ({done.stderr.strip()})")
    yield home
    subprocess.run(["umount", "-l", str(home)], check=True)


def pretend_free_space(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the check of free space succeed, as if the disk filled up only afterwards."""
    monkeypatch.setattr(downloader.shutil, "disk_usage", lambda path: SimpleNamespace(free=1 << 40))


def assert_helpful(error: DownloadError, folder: Path) -> None:
    for way_out in (str(folder), "by hand", "COLORCV_HOME", 'pass model="lite"'):
        assert way_out in str(error)


def test_a_small_disk_is_an_error_before_the_first_byte(
    small_disk: Path, server: FaultyServer
) -> None:
    register({name: [server.url("correct", name)] for name in CONTENTS})
    with pytest.raises(
        DownloadError, match=r"not enough disk space in .*: 0\.3 MB needed, .* free"
    ) as caught:
        download(NAME)
    assert_helpful(caught.value, small_disk / NAME)
    assert server.log == []


def test_a_disk_that_fills_up(
    small_disk: Path, server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_small_files(small_disk / NAME)
    register({WEIGHTS: [server.url("correct", WEIGHTS)]})
    pretend_free_space(monkeypatch)
    with pytest.raises(DownloadError, match="No space left on device") as caught:
        download(NAME)
    assert_helpful(caught.value, small_disk / NAME)
    assert isinstance(caught.value.__cause__, OSError)
    check_folder(small_disk / NAME)
    (left,) = parts(small_disk / NAME)
    partial = left.stat().st_size
    assert 50_000 < partial < SIZE
    assert CONTENT.startswith(left.read_bytes())

    subprocess.run(["mount", "-o", "remount,size=1m", str(small_disk)], check=True)
    server.log.clear()
    download(NAME)
    assert [(request.start, request.sent) for request in server.log] == [(partial, SIZE - partial)]
    check_folder(small_disk / NAME)


def test_a_file_size_limit(home: Path, server: FaultyServer) -> None:
    """Like a full disk, but without root."""
    pytest.importorskip("resource", reason="Windows has no limits on file sizes")
    write_small_files(home / NAME)
    child = [
        sys.executable,
        "-m",
        "tests.helpers.download_child",
        str(home),
        f"{server.base}/correct",
    ]
    run = {"cwd": Path(__file__).parents[2], "capture_output": True, "text": True, "timeout": 60}
    done = subprocess.run([*child, "100000"], check=False, **run)
    assert done.returncode == 3, done.stderr
    assert "File too large" in done.stdout
    assert 'model="lite"' in done.stdout
    check_folder(home / NAME)
    (left,) = parts(home / NAME)
    assert left.read_bytes() == CONTENT[:100_000]
    assert subprocess.run(child, check=False, **run).returncode == 0
    assert [request.start for request in server.log] == [0, 100_000]
    check_folder(home / NAME)


def test_a_read_only_folder_with_the_right_files_is_enough(
    small_disk: Path, server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(["mount", "-o", "remount,size=1m", str(small_disk)], check=True)
    folder = small_disk / NAME
    write_small_files(folder)
    (folder / WEIGHTS).write_bytes(CONTENT)
    register({})
    before = sorted(folder.iterdir())
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert resolve(NAME).caffemodel == folder / WEIGHTS
    assert download(NAME) == folder
    assert sorted(folder.iterdir()) == before
    assert next(info for info in models() if info.name == NAME).state == "ready"


def test_a_read_only_folder_is_an_error_before_the_first_byte(
    small_disk: Path, server: FaultyServer
) -> None:
    subprocess.run(["mount", "-o", "remount,size=1m", str(small_disk)], check=True)
    write_small_files(small_disk / NAME)
    register({WEIGHTS: [server.url("correct", WEIGHTS)]})
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(DownloadError, match="Read-only file system") as caught:
        download(NAME)
    assert_helpful(caught.value, small_disk / NAME)
    assert server.log == []


@pytest.mark.parametrize("call", ["open", "write", "fsync", "ftruncate", "mkdir"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.EACCES])
def test_every_call_may_fail(
    call: str, code: int, home: Path, server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each system call raises; needs no mount."""
    register({name: [server.url("correct", name)] for name in CONTENTS})

    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    if call == "mkdir":
        monkeypatch.setattr(Path, "mkdir", fail)
    else:  # only in the module under test: pytest writes files too
        fake_os = SimpleNamespace(**{name: getattr(os, name) for name in dir(os)})
        setattr(fake_os, call, fail)
        monkeypatch.setattr(partial, "os", fake_os)
    with pytest.raises(DownloadError, match=os.strerror(code)) as caught:
        download(NAME)
    assert_helpful(caught.value, home / NAME)
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == code
    if call != "mkdir":
        check_folder(home / NAME)
        assert not any((home / NAME / name).exists() for name in CONTENTS)


def test_a_file_in_place_of_the_folder(
    home: Path, server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "file").write_bytes(b"")
    monkeypatch.setenv("COLORCV_HOME", str(home / "file"))
    register({name: [server.url("correct", name)] for name in CONTENTS})
    with pytest.raises(DownloadError, match=r"cannot write .*file") as caught:
        download(NAME)
    assert_helpful(caught.value, home / "file" / NAME)
    assert server.log == []
    assert next(info for info in models() if info.name == NAME).state == "absent"


def test_a_partial_file_reduces_the_space_needed(
    home: Path, server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_small_files(home / NAME)
    part_path(home / NAME).write_bytes(CONTENT[:200_000])
    register({WEIGHTS: [server.url("correct", WEIGHTS)]})
    free = SimpleNamespace(free=99_999)
    monkeypatch.setattr(downloader.shutil, "disk_usage", lambda path: free)
    with pytest.raises(DownloadError, match=r": 0\.1 MB needed, 99,999 bytes free"):
        download(NAME)
    free.free += 1
    download(NAME)
    check_folder(home / NAME)
