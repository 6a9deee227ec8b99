"""The web app and the page of sliders, in a real browser: headless Chromium, loopback only."""

from __future__ import annotations

import base64
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
WEBAPP = ROOT / "examples" / "webapp"
PHOTO = ROOT / "examples" / "photos" / "tetons_1942.jpg"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
# Nothing that a browser does for itself: no lookups, no updates.
QUIET = [
    "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


def mean_chroma(picture: np.ndarray) -> float:
    """How far from grey, in levels: the mean range over the three channels."""
    return float(np.ptp(picture.astype(np.int16), axis=2).mean())


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
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
    command = [sys.executable, "-m", "waitress", "--listen=127.0.0.1:0", "app:app"]
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


def drop(page: Any, path: Path, kind: str = "image/jpeg") -> None:
    """Drop a file on the page, as a hand does."""
    transfer = page.evaluate_handle(
        """([name, kind, data]) => {
            const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], name, { type: kind }));
            return transfer;
        }""",
        [path.name, kind, base64.b64encode(path.read_bytes()).decode()],
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})


def drag_slider(page: Any, pair: str, share: float) -> None:
    box = page.locator(pair).bounding_box()
    height = box["y"] + min(60, box["height"] / 4)
    page.mouse.move(box["x"] + box["width"] / 2, height)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * share, height, steps=4)
    page.mouse.up()


def shown(page: Any, pair: str) -> np.ndarray:
    """What a person sees of a pair of pictures."""
    png = page.locator(pair).screenshot()
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)


def assert_parted_at(picture: np.ndarray, share: float) -> None:
    """Grey to the left of the slider, in colour to the right of it."""
    middle, margin = round(picture.shape[1] * share), 24
    assert mean_chroma(picture[:, 10 : middle - margin]) < 1
    assert mean_chroma(picture[:, middle + margin : -10]) > 8


def test_drop_slide_and_download(page: Any, server: str, tmp_path: Path) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(server)
    upload = tmp_path / "Großmutter 中.v2.jpg"
    shutil.copy(PHOTO, upload)
    drop(page, upload)
    page.wait_for_selector("#result:not([hidden])")
    assert page.inner_text("#name") == upload.name
    assert_parted_at(shown(page, "#pair"), 0.5)
    drag_slider(page, "#pair", 0.25)
    assert_parted_at(shown(page, "#pair"), 0.25)
    page.keyboard.press("End")
    assert mean_chroma(shown(page, "#pair")) < 1

    with page.expect_download() as download:
        page.click("#download")
    assert download.value.suggested_filename == "Großmutter 中.v2.color.jpg"
    download.value.save_as(tmp_path / "result.jpg")
    result, photo = cv2.imread(str(tmp_path / "result.jpg")), cv2.imread(str(PHOTO))
    assert result.shape == photo.shape
    assert mean_chroma(result) > 8
    lightness = (cv2.cvtColor(p, cv2.COLOR_BGR2LAB)[..., 0].astype(int) for p in (result, photo))
    assert abs(next(lightness) - next(lightness)).mean() < 2
    assert all(url.startswith((server, "blob:")) for url in asked)


def test_saturation_colours_the_same_photo_again(page: Any, server: str) -> None:
    page.goto(server)
    page.set_input_files("#photo", PHOTO)
    page.wait_for_selector("#result:not([hidden])")
    first = page.get_attribute("#after", "src")
    page.focus("#saturation")
    page.keyboard.press("Home")  # to 0: no colour at all
    page.wait_for_function("src => document.getElementById('after').getAttribute('src') != src",
                           arg=first)  # fmt: skip
    page.wait_for_selector("#pair:not(.stale)")
    assert page.inner_text("#factor") == "0.0"
    page.focus("#slider")
    page.keyboard.press("Home")  # all after
    assert mean_chroma(shown(page, "#pair")) < 1


@pytest.mark.parametrize("case", ["text", "truncated", "megapixels", "megabytes"])
def test_bad_and_oversized_uploads_are_errors_on_the_page(
    page: Any, server: str, tmp_path: Path, case: str
) -> None:
    wide = np.zeros((1500, 1500), np.uint8)
    noise = np.random.default_rng(1).integers(0, 256, (1100, 1100), np.uint8)
    upload, message = {
        "text": (b"<b>no picture</b>", "not a picture"),
        "truncated": (cv2.imencode(".png", noise)[1].tobytes()[:20], "not a picture"),
        "megapixels": (cv2.imencode(".png", wide)[1].tobytes(), "over 2 megapixels"),
        "megabytes": (cv2.imencode(".png", noise)[1].tobytes(), "over 1 megabytes"),
    }[case]
    path = tmp_path / "<i>upload.png"
    path.write_bytes(upload)
    page.goto(server)
    drop(page, path, "image/png")
    page.wait_for_selector("#error:not([hidden])")
    assert message in page.inner_text("#error")
    assert "<i>upload.png" in page.inner_text("#error")
    assert page.is_hidden("#result")
    drop(page, PHOTO)  # and the page goes on working
    page.wait_for_selector("#result:not([hidden])")
    assert page.is_hidden("#error")


def test_server_holds_its_limits_without_the_page(page: Any, server: str) -> None:
    form = {"model": "lite", "saturation": "1", "photo": file_of(bytes(2_000_000))}
    answer = page.request.post(f"{server}/photos", multipart=form)
    assert answer.status == 413
    assert answer.json() == {"error": "over 1 megabytes"}
    health = page.request.get(f"{server}/health")
    assert health.json() == {"status": "ok", "waiting": 0, "models": ["lite"]}


def file_of(content: bytes) -> dict[str, Any]:
    return {"name": "x.png", "mimeType": "image/png", "buffer": content}


@pytest.mark.parametrize("width", [320, 768, 1600])
def test_page_fits_its_window(page: Any, server: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(server)
    drop(page, PHOTO)
    page.wait_for_selector("#result:not([hidden])")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    box = page.locator("#pair").bounding_box()
    assert box["width"] / box["height"] == pytest.approx(1200 / 961, rel=0.02)


@pytest.fixture
def app() -> Iterator[ModuleType]:
    pytest.importorskip("flask", reason="the web app is made with Flask")
    before = os.environ.get("OPENCV_IO_MAX_IMAGE_PIXELS")
    spec = importlib.util.spec_from_file_location("webapp", WEBAPP / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["webapp"] = module
    spec.loader.exec_module(module)
    yield module
    module.queue.shutdown()
    del sys.modules["webapp"]
    if before is None:
        del os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"]


def form(**changes: Any) -> dict[str, Any]:
    return {"model": "lite", "saturation": "1", "photo": (BytesIO(PHOTO.read_bytes()), "a.jpg")} | (
        changes
    )


def test_a_slow_photo_blocks_neither_the_page_nor_its_turn(app: ModuleType) -> None:
    """The queue's one thread is held up by the test; then it goes on."""
    client = app.app.test_client()
    go_on = threading.Event()
    app.queue.submit(go_on.wait, 60)
    ids = []
    for _ in range(app.WAITING_MOST):
        answer = client.post("/photos", data=form())
        assert answer.status_code == 202
        ids.append(answer.json["id"])
    refused = client.post("/photos", data=form())
    assert refused.status_code == 503
    assert "try again" in refused.json["error"]
    assert client.get("/").status_code == 200
    assert client.get("/health").json["waiting"] == app.WAITING_MOST
    assert client.get(f"/photos/{ids[3]}").json == {"state": "waiting", "ahead": 3, "error": ""}
    assert client.get(f"/photos/{ids[3]}/after.jpg").status_code == 404
    go_on.set()
    app.queue.shutdown(wait=True)
    assert all(client.get(f"/photos/{key}").json["state"] == "done" for key in ids)
    picture = client.get(f"/photos/{ids[0]}/after.jpg")
    assert picture.mimetype == "image/jpeg"
    assert cv2.imdecode(np.frombuffer(picture.data, np.uint8), cv2.IMREAD_COLOR) is not None


def test_memory_is_bounded(app: ModuleType) -> None:
    client = app.app.test_client()
    first = client.post("/photos", data=form()).json["id"]
    for _ in range(app.KEPT_MOST):
        app.photos[f"old {_}"] = app.Photo("old.jpg", state="done")
    last = client.post("/photos", data=form()).json["id"]
    assert len(app.photos) <= app.KEPT_MOST
    assert client.get(f"/photos/{first}").status_code == 404
    assert client.get(f"/photos/{last}").status_code == 200


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"photo": (BytesIO(b""), "")}, "no photo", id="no file"),
        pytest.param({"model": "zhang2016"}, "no model 'zhang2016'", id="model that is not here"),
        pytest.param({"model": "../lite"}, "no model", id="no model's name"),
        pytest.param({"saturation": "lots"}, "from 0 to 3", id="saturation that is no number"),
        pytest.param({"saturation": "nan"}, "from 0 to 3", id="saturation NaN"),
        pytest.param({"saturation": "-1"}, "from 0 to 3", id="saturation below 0"),
    ],
)
def test_wrong_forms_are_refused(app: ModuleType, changes: dict[str, Any], message: str) -> None:
    answer = app.app.test_client().post("/photos", data=form(**changes))
    assert answer.status_code == 400
    assert message in answer.json["error"]
    assert not app.photos


def test_compare_page_slides_without_a_server(page: Any, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    shutil.copy(PHOTO, photos)
    subprocess.run(
        [sys.executable, ROOT / "examples" / "compare_pages.py", photos, tmp_path / "page.html"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=True,
        timeout=300,
    )
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((tmp_path / "page.html").as_uri())
    assert_parted_at(shown(page, ".pair"), 0.5)
    drag_slider(page, ".pair", 0.7)
    assert_parted_at(shown(page, ".pair"), 0.7)
    assert all(url.startswith(("file:", "data:")) for url in asked)
    page.set_viewport_size({"width": 360, "height": 640})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
