"""Memory that this process may still take: the system's free memory and the container's limit."""

from __future__ import annotations

import contextlib
import ctypes
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["AvailableMemory", "available_memory"]

# A limit at least this large means that there is none: cgroup v1 writes nearly 2**63.
_NO_LIMIT = 1 << 60


class AvailableMemory(NamedTuple):
    """An amount of memory, and what sets it."""

    size: int  # bytes
    reason: str  # such as "free", "free within the container's limit"


def available_memory(root: Path = Path("/")) -> AvailableMemory | None:
    """Return how much memory this process can still take, or None if no call tells.

    Parameters
    ----------
    root : Path
        Folder that holds `proc` and `sys`, on Linux.

    Notes
    -----
    The smallest of the system's free memory (`MemAvailable` of Linux's /proc/meminfo, `vm_stat` of
    macOS, `GlobalMemoryStatusEx` of Windows) and, on Linux, what each control group (v1 or v2) that
    the process is in has left of its limit. File caches count as free.
    """
    if sys.platform == "win32":
        found = [_windows_free()]
    elif sys.platform == "darwin":
        found = [_macos_free()]
    else:
        found = [_linux_free(root), *_cgroups_free(root)]
    return min((memory for memory in found if memory is not None), default=None)


def _linux_free(root: Path) -> AvailableMemory | None:
    match = re.search(r"^MemAvailable:\s*(\d+) kB$", _read(root / "proc/meminfo"), re.MULTILINE)
    return AvailableMemory(int(match[1]) << 10, "free") if match else None


def _cgroups_free(root: Path) -> list[AvailableMemory]:
    """Return what is left of each limit on the process's groups and the groups above them."""
    found = []
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers == "":
            mount, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            mount = root / "sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        # Inside a container, the path may be the host's and absent here; its root is then the
        # container's own group.
        group = mount / path.strip("/")
        while group == mount or mount in group.parents:
            left = _left_of_limit(group, *names)
            if left is not None:
                found.append(AvailableMemory(left, "free within the container's limit"))
            group = group.parent
    return found


def _left_of_limit(group: Path, limit: str, usage: str, cache: str) -> int | None:
    texts = (_read(group / limit).strip(), _read(group / usage).strip())
    if not all(text.isdigit() for text in texts):  # "max", or no such file
        return None
    most, used = map(int, texts)
    if most >= _NO_LIMIT:
        return None
    match = re.search(rf"^{cache} (\d+)$", _read(group / "memory.stat"), re.MULTILINE)
    return max(0, most - used + (int(match[1]) if match else 0))


def _macos_free() -> AvailableMemory | None:
    try:
        command = ["/usr/bin/vm_stat"]
        text = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return _parse_vm_stat(text)


def _parse_vm_stat(text: str) -> AvailableMemory | None:
    page = re.search(r"page size of (\d+) bytes", text)
    names = "free|inactive|speculative|purgeable"
    pages = re.findall(rf"^Pages (?:{names}):\s+(\d+)\.$", text, re.MULTILINE)
    if not page or not pages:
        return None
    return AvailableMemory(int(page[1]) * sum(map(int, pages)), "free")


def _windows_free() -> AvailableMemory | None:
    class Status(ctypes.Structure):
        _fields_ = (
            ("length", ctypes.c_uint32),
            ("load", ctypes.c_uint32),
            *((name, ctypes.c_uint64) for name in ("total", "free", "total_page", "free_page")),
            *((name, ctypes.c_uint64) for name in ("total_virtual", "free_virtual", "extended")),
        )

    status = Status(length=ctypes.sizeof(Status))
    library: Any = ctypes
    with contextlib.suppress(AttributeError, OSError):
        if library.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
            return AvailableMemory(status.free, "free")
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, ValueError):
        return ""
