"""Photograph the web app: ``python docs/pictures/webapp.py``, with Chromium on PATH."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[2]
PHOTO = ROOT / "examples" / "photos" / "tetons_1942.jpg"
SIZE = {"width": 900, "height": 760}

server = subprocess.Popen(
    [sys.executable, str(ROOT / "examples" / "webapp" / "app.py"), "--listen=127.0.0.1:0"],
    env=os.environ | {"PYTHONPATH": str(ROOT), "COLORCV_OFFLINE": "1"},
    stderr=subprocess.PIPE,
    text=True,
)
try:
    address = next(
        found[1] for line in server.stderr if (found := re.search(r"Serving on (http://\S+)", line))
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport=SIZE)
        page.goto(address)
        page.set_input_files("input[type=file]", PHOTO)
        page.wait_for_selector("#result:not([hidden])")
        page.wait_for_selector("#pair:not(.stale)")
        box = page.locator("#pair").bounding_box()
        height = box["y"] + box["height"] / 4
        page.mouse.move(box["x"] + box["width"] / 2, height)
        page.mouse.down()
        page.mouse.move(box["x"] + 0.42 * box["width"], height, steps=4)
        page.mouse.up()
        page.screenshot(path=Path(__file__).with_name("webapp.jpg"), type="jpeg", quality=85)
        browser.close()
finally:
    server.terminate()
    server.wait(30)
