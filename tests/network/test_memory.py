"""Tests of how much memory is available, on files as Linux, macOS and Windows give them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from colorcv.network import memory

MIB = 1 << 20
MEMINFO = "MemTotal:        8000000 kB\nMemFree:          100000 kB\nMemAvailable:    4000000 kB\n"
VM_STAT = """\
Mach Virtual Memory Statistics: (page size of 16384 bytes)
Pages free:                               10000.
Pages active:                            400000.
Pages inactive:                           20000.
Pages speculative:                         3000.
Pages throttled:                              0.
Pages wired down:                        100000.
Pages purgeable:                           2000.
"Translation faults":                 123456789.
Pages copy-on-write:                    1234567.
"""


@pytest.fixture
def linux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "platform", "linux")
    write(tmp_path, {"proc/meminfo": MEMINFO})
    return tmp_path


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_free_memory_of_linux(linux: Path) -> None:
    assert memory.available_memory(linux) == (4_000_000 * 1024, "free")


def test_container_with_cgroup_v2(linux: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/\n",
        "sys/fs/cgroup/memory.max": f"{1024 * MIB}\n",
        "sys/fs/cgroup/memory.current": f"{300 * MIB}\n",
        "sys/fs/cgroup/memory.stat": f"anon 1\nfile 2\ninactive_file {100 * MIB}\n",
    }
    write(linux, files)
    expected = (824 * MIB, "free within the container's limit")
    assert memory.available_memory(linux) == expected


def test_smallest_limit_of_all_parents(linux: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/user.slice/session.scope\n",
        "sys/fs/cgroup/user.slice/session.scope/memory.max": "max\n",
        "sys/fs/cgroup/user.slice/session.scope/memory.current": "1\n",
        "sys/fs/cgroup/user.slice/memory.max": f"{500 * MIB}\n",
        "sys/fs/cgroup/user.slice/memory.current": f"{200 * MIB}\n",
    }
    write(linux, files)
    found = memory.available_memory(linux)
    assert found is not None
    assert found.size == 300 * MIB


def test_container_with_cgroup_v1(linux: Path) -> None:
    files = {
        "proc/self/cgroup": "3:cpu,cpuacct:/docker/1\n2:memory:/docker/1\n1:name=systemd:/\n",
        # The path is the host's; in the container its group is the root.
        "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{256 * MIB}\n",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{300 * MIB}\n",
        "sys/fs/cgroup/memory/memory.stat": f"inactive_file 5\ntotal_inactive_file {60 * MIB}\n",
    }
    write(linux, files)
    found = memory.available_memory(linux)
    assert found is not None
    assert found.size == 16 * MIB


def test_cgroup_v1_without_a_limit(linux: Path) -> None:
    files = {
        "proc/self/cgroup": "2:memory:/\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": "1000\n",
    }
    write(linux, files)
    assert memory.available_memory(linux) == (4_000_000 * 1024, "free")


@pytest.mark.parametrize("text", ["", ":\n", "0\n", "0::/../..\n", "\0:\x01memory\n"])
def test_odd_cgroup_files(linux: Path, text: str) -> None:
    write(linux, {"proc/self/cgroup": text})
    assert memory.available_memory(linux) == (4_000_000 * 1024, "free")


def test_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    assert memory.available_memory(tmp_path) is None


def test_macos() -> None:
    assert memory._parse_vm_stat(VM_STAT) == (35_000 * 16384, "free")
    assert memory._parse_vm_stat("vm_stat: not found") is None


def test_this_machine() -> None:
    found = memory.available_memory()
    if sys.platform in ("linux", "darwin", "win32"):
        assert found is not None
        assert 0 <= found.size < 1 << 50
