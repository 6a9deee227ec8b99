"""Fixtures for all tests, and a header with the versions in use."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

DATA = Path(__file__).parent / "data"
SHARED = Path(__file__).parents[2] / "shared"


def pytest_configure() -> None:
    # A shell ignores SIGINT in background jobs, and ignored signals stay ignored in child
    # processes, which some tests interrupt. Handled signals return to the default in a child.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> list[str]:
    import cv2
    import numpy as np

    import colorcv

    available = ", ".join(info.name for info in colorcv.devices() if info.available)
    versions = f"cv2 {cv2.__version__}, numpy {np.__version__}"
    return [f"{versions}, threads {cv2.getNumThreads()}, devices {available}"]


@pytest.fixture(scope="session")
def data() -> Path:
    """Return the folder of small data files."""
    return DATA


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real photos, clips and models beside a developer's checkout."""
    if not SHARED.is_dir():
        pytest.skip(f"the developers' photos and clips are not available ({SHARED})")
    return SHARED


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep tests away from the user's cache folder and from the internet."""
    monkeypatch.setenv("COLORCV_HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setenv("COLORCV_OFFLINE", "1")
    monkeypatch.delenv("COLORCV_MIRROR", raising=False)
