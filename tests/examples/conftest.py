"""Fixtures of the browser tests: Chromium, a page, the web app as a server and as a module."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
WEBAPP = ROOT / "examples" / "webapp"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
# Nothing that a browser does for itself: no lookups, no updates.
QUIET = [
    "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright drives the browser")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page which fails the test for any error of its script or its console."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda err: complaints.append(str(err)))
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.set_default_timeout(60_000)
    yield page
    context.close()
    assert not complaints


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app under waitress, as its README starts it, with limits that a test can reach."""
    pytest.importorskip("flask", reason="the web app is made with Flask")
    pytest.importorskip("waitress", reason="the web app is served by waitress")
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "COLORCV_HOME": str(tmp_path_factory.mktemp("home")),
        "COLORCV_OFFLINE": "1",
        "COLORCV_APP_MEGAPIXELS": "2",
        "COLORCV_APP_MEGABYTES": "1",
    }
    command = [sys.executable, "app.py", "--listen=127.0.0.1:0"]
    with subprocess.Popen(
        command, cwd=WEBAPP, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        said = ""
        for line in process.stderr:
            said += line
            if found := re.search(r"Serving on (http://127\.0\.0\.1:\d+)", line):
                threading.Thread(target=process.stderr.read, daemon=True).start()
                yield found[1]
                break
        process.terminate()
        process.wait(30)
    assert "Serving on" in said, said


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    pytest.importorskip("flask", reason="the web app is made with Flask")
    limits = ("OPENCV_IO_MAX_IMAGE_PIXELS", "COLORCV_MAX_PIXELS")
    for name in limits:  # set by the app, and taken back by monkeypatch
        monkeypatch.setenv(name, "1")
    monkeypatch.syspath_prepend(str(WEBAPP))
    for name in ("app", "sessions"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    module = importlib.import_module("app")
    yield module
    module.queue.shutdown()
    for name in ("app", "sessions"):
        del sys.modules[name]
