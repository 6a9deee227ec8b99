"""The web app and the page of sliders, in a real browser: headless Chromium, loopback only."""

from __future__ import annotations

import base64
import contextlib
import importlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest

import colorcv

ROOT = Path(__file__).parents[2]
PHOTO = ROOT / "examples" / "photos" / "tetons_1942.jpg"


def mean_chroma(image: np.ndarray) -> float:
    """How far from grey, in levels: the mean range over the three channels."""
    return float(np.ptp(image.astype(np.int16), axis=2).mean())


def send(
    page: Any, path: Path, *, by: str = "drop", to: str = "#drop", kind: str = "image/jpeg"
) -> None:
    """Drop or paste a file, with the events that a browser makes of it."""
    transfer = page.evaluate_handle(
        """([name, kind, data]) => {
            const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], name, { type: kind }));
            return transfer;
        }""",
        [path.name, kind, base64.b64encode(path.read_bytes()).decode()],
    )
    if by == "drop":
        page.dispatch_event(to, "drop", {"dataTransfer": transfer})
    else:
        page.evaluate(
            """(data) => document.dispatchEvent(
                new ClipboardEvent("paste", { clipboardData: data, bubbles: true }))""",
            transfer,
        )


def drag_slider(page: Any, pair: str, share: float) -> None:
    box = page.locator(pair).bounding_box()
    height = box["y"] + min(60, box["height"] / 4)
    page.mouse.move(box["x"] + box["width"] / 2, height)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * share, height, steps=4)
    page.mouse.up()


def shown(page: Any, pair: str) -> np.ndarray:
    """Return what a person sees of a pair of images."""
    png = page.locator(pair).screenshot()
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)


def assert_parted_at(image: np.ndarray, share: float) -> None:
    """Check that it is grey to the left of the slider, and in colour to the right of it."""
    middle, margin = round(image.shape[1] * share), 24
    assert mean_chroma(image[:, 10 : middle - margin]) < 1
    assert mean_chroma(image[:, middle + margin : -10]) > 8


def wait_for_preview(page: Any, saturation: str) -> None:
    page.wait_for_function(
        "s => document.getElementById('after').src.includes(`saturation=${s}&`)", arg=saturation
    )
    page.wait_for_selector("#pair:not(.stale)")


def test_drop_slide_and_download(page: Any, server: str, tmp_path: Path) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(server)
    upload = tmp_path / "Großmutter 中.v2.jpg"
    shutil.copy(PHOTO, upload)
    send(page, upload)
    page.wait_for_selector("#result:not([hidden])")
    page.wait_for_selector("#pair:not(.stale)")
    assert page.inner_text("#name") == upload.name
    assert_parted_at(shown(page, "#pair"), 0.5)
    drag_slider(page, "#pair", 0.25)
    assert_parted_at(shown(page, "#pair"), 0.25)
    page.keyboard.press("End")
    assert mean_chroma(shown(page, "#pair")) < 1

    photo = cv2.imread(str(PHOTO))
    for choice, suffix, dtype in (
        ("jpg", "jpg", np.uint8), ("png", "png", np.uint8), ("png-16", "png", np.uint16),
    ):  # fmt: skip
        page.select_option("#format", choice)
        with page.expect_download() as download:
            page.click("#download")
        assert download.value.suggested_filename == f"Großmutter 中.v2.color.{suffix}"
        download.value.save_as(tmp_path / f"result.{suffix}")
        result = cv2.imread(str(tmp_path / f"result.{suffix}"), cv2.IMREAD_UNCHANGED)
        assert result.shape == photo.shape
        assert result.dtype == dtype
        result = result if dtype == np.uint8 else np.rint(result / 257).astype(np.uint8)
        assert mean_chroma(result) > 8
        lab = (cv2.cvtColor(p, cv2.COLOR_BGR2LAB)[..., 0].astype(int) for p in (result, photo))
        assert abs(next(lab) - next(lab)).mean() < 2
    assert all(url.startswith((server, "blob:")) for url in asked)


def test_saturation_is_drawn_again_without_another_upload(page: Any, server: str) -> None:
    posts: list[str] = []
    page.on(
        "request", lambda request: posts.append(request.url) if request.method == "POST" else None
    )
    page.goto(server)
    page.set_input_files("#photo", PHOTO)
    wait_for_preview(page, "1")
    page.focus("#saturation")
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    wait_for_preview(page, "2")
    strong = mean_chroma(shown(page, "#pair"))
    page.keyboard.press("Home")  # to 0: no colour at all
    wait_for_preview(page, "0")
    assert page.inner_text("#factor") == "0.0"
    page.focus("#slider")
    page.keyboard.press("Home")  # all after
    assert mean_chroma(shown(page, "#pair")) < 1 < strong
    assert len(posts) == 1


def test_arrow_keys_move_the_slider_by_steps_that_one_sees(page: Any, server: str) -> None:
    page.goto(server)
    send(page, PHOTO)
    page.wait_for_selector("#result:not([hidden])")
    page.focus("#slider")
    for key, value in (("ArrowRight", "52"), ("ArrowUp", "54"), ("ArrowLeft", "52")):
        page.keyboard.press(key)
        assert page.input_value("#slider") == value
        assert page.evaluate(
            "document.getElementById('pair').style.getPropertyValue('--at')"
        ) == f"{value}%"  # fmt: skip


def test_several_photos_by_paste_and_drop_are_listed_and_deleted(
    page: Any, server: str, tmp_path: Path
) -> None:
    page.goto(server)
    send(page, PHOTO, by="paste")
    page.wait_for_selector("#result:not([hidden])")
    assert page.is_hidden("#photos")
    other = tmp_path / "other.jpg"
    shutil.copy(ROOT / "examples" / "photos" / "saratoga_broadway_1900s.jpg", other)
    (tmp_path / "empty.jpg").write_bytes(b"")
    page.set_input_files("#photo", [other, tmp_path / "empty.jpg"])
    page.wait_for_selector("#error:not([hidden])")
    assert page.inner_text("#error") == "empty.jpg: the file is empty"
    assert page.locator("#photos button").count() == 2
    assert page.inner_text("#name") == "other.jpg"
    page.click("#photos button >> nth=0")
    assert page.inner_text("#name") == PHOTO.name
    page.wait_for_selector("#pair:not(.stale)")
    url = page.get_attribute("#download", "href")
    assert page.request.get(f"{server}/{url}").status == 200
    page.click("#delete")
    page.wait_for_function("() => document.getElementById('name').textContent == 'other.jpg'")
    assert page.request.get(f"{server}/{url}").status == 404
    page.click("#delete")
    page.wait_for_selector("#result", state="hidden")
    assert "deleted" in page.inner_text("#status")


def test_page_without_javascript_says_so(browser: Any, server: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(server)
    assert "needs JavaScript" in page.inner_text("noscript")
    context.close()


@pytest.mark.parametrize("case", ["text", "truncated", "megapixels", "megabytes", "empty"])
def test_bad_and_oversized_uploads_are_errors_on_the_page(
    page: Any, server: str, tmp_path: Path, case: str
) -> None:
    wide = np.zeros((1500, 1500), np.uint8)
    noise = np.random.default_rng(1).integers(0, 256, (1100, 1100), np.uint8)
    upload, message = {
        "text": (b"<b>no image</b>", "not an image"),
        "truncated": (cv2.imencode(".png", noise)[1].tobytes()[:20], "not an image"),
        "megapixels": (cv2.imencode(".png", wide)[1].tobytes(), "over 2 megapixels"),
        "empty": (b"", "the file is empty"),
        "megabytes": (cv2.imencode(".png", noise)[1].tobytes(), "over 1 megabytes"),
    }[case]
    path = tmp_path / "<i>upload.png"
    path.write_bytes(upload)
    page.goto(server)
    send(page, path, kind="image/png")
    page.wait_for_selector("#error:not([hidden])")
    assert message in page.inner_text("#error")
    assert "<i>upload.png" in page.inner_text("#error")
    assert page.is_hidden("#result")
    send(page, PHOTO)  # and the page still works
    page.wait_for_selector("#result:not([hidden])")
    assert page.is_hidden("#error")


def test_server_holds_its_limits_without_the_page(page: Any, server: str) -> None:
    form = {"model": "lite", "photo": file_of(bytes(2_000_000))}
    response = page.request.post(f"{server}/photos", multipart=form)
    assert response.status == 413
    empty = page.request.post(f"{server}/photos", multipart=form | {"photo": file_of(b"")})
    assert empty.json() == {"error": "x.png: the file is empty"}
    health = page.request.get(f"{server}/health").json()
    assert health["status"] == "ok"
    assert health["waiting"] == 0
    assert health["models"] == ["lite"]


def connect(server: str) -> socket.socket:
    parts = urlsplit(server)
    return socket.create_connection((parts.hostname, parts.port), timeout=30)


def test_large_body_is_refused_before_it_is_sent(server: str) -> None:
    with connect(server) as client:
        client.sendall(b"POST /photos HTTP/1.1\r\nHost: x\r\nContent-Length: 900000000\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_slow_connections_lock_nobody_out(server: str) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(150):
            slow = stack.enter_context(connect(server))
            slow.sendall(b"POST /photos HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nx")
        quick = stack.enter_context(connect(server))
        quick.sendall(b"GET /health HTTP/1.0\r\n\r\n")
        assert quick.recv(1000).startswith(b"HTTP/1.0 200 ")


def file_of(content: bytes) -> dict[str, Any]:
    return {"name": "x.png", "mimeType": "image/png", "buffer": content}


@pytest.mark.parametrize("width", [320, 768, 1600])
def test_page_fits_its_window(page: Any, server: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(server)
    send(page, PHOTO)
    wait_for_preview(page, "1")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    box = page.locator("#pair").bounding_box()
    assert box["width"] / box["height"] == pytest.approx(1200 / 961, rel=0.02)


def form(**changes: Any) -> dict[str, Any]:
    return {"model": "lite", "photo": (BytesIO(PHOTO.read_bytes()), "a.jpg")} | changes


def upload_done(app: ModuleType, **changes: Any) -> str:
    """Upload a photo, wait until it is coloured, and return its address."""
    response = app.app.test_client().post("/photos", data=form(**changes))
    assert response.status_code == 202, response.json
    app.queue.submit(int).result()
    return f"/photos/{response.json['id']}"


def test_a_slow_photo_blocks_neither_the_page_nor_its_turn(app: ModuleType) -> None:
    """The queue's one thread is held up by the test, then released."""
    client = app.app.test_client()
    resume = threading.Event()
    app.queue.submit(resume.wait, 60)
    ids = []
    for _ in range(app.MAX_WAITING):
        response = client.post("/photos", data=form())
        assert response.status_code == 202
        ids.append(response.json["id"])
    refused = client.post("/photos", data=form())
    assert refused.status_code == 503
    assert "try again" in refused.json["error"]
    assert client.get("/").status_code == 200
    assert client.get("/health").json["waiting"] == app.MAX_WAITING
    state = client.get(f"/photos/{ids[3]}").json
    assert state == {"state": "waiting", "ahead": 3, "error": "", "width": 0, "height": 0}
    early = client.get(f"/photos/{ids[3]}/before.jpg")
    assert early.status_code == 409
    assert "being coloured" in early.json["error"]
    resume.set()
    app.queue.shutdown(wait=True)
    assert all(client.get(f"/photos/{key}").json["state"] == "done" for key in ids)
    preview = client.get(f"/photos/{ids[0]}/after.jpg?saturation=1")
    assert preview.mimetype == "image/jpeg"
    assert cv2.imdecode(np.frombuffer(preview.data, np.uint8), cv2.IMREAD_COLOR) is not None


def test_sliders_and_downloads_run_no_network(
    app: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result is what the library gives, from the prediction that was kept."""
    address = upload_done(app)
    monkeypatch.setattr(colorcv.Colorizer, "predict_ab", None)
    client = app.app.test_client()
    for saturation in (0, 0.5, 2):
        assert client.get(f"{address}/after.jpg?saturation={saturation}").status_code == 200
    result = client.get(f"{address}/result.png?saturation=0.5")
    monkeypatch.undo()
    expected = colorcv.colorize(PHOTO, model="lite", saturation=0.5)
    decoded = cv2.imdecode(np.frombuffer(result.data, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(decoded, expected)


def test_another_model_needs_no_upload(app: ModuleType) -> None:
    address = upload_done(app)
    client = app.app.test_client()
    assert client.post(f"{address}/model", data={"model": "lite"}).status_code == 202
    app.queue.submit(int).result()
    assert client.get(address).json["state"] == "done"
    assert client.post(f"{address}/model", data={"model": "none"}).status_code == 400


def test_memory_is_bounded_in_bytes_and_minutes(
    app: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = app.app.test_client()
    first, second = upload_done(app), upload_done(app)
    size = sum(app.sessions.get(key.split("/")[-1]).nbytes for key in (first, second))
    monkeypatch.setattr(app.sessions, "max_bytes", size + 1000)
    client.get(first)  # now the second is the longest unused
    third = upload_done(app)
    assert client.get(second).status_code == 404
    assert client.get(first).status_code == client.get(third).status_code == 200
    monkeypatch.setattr(app.sessions, "max_age_s", 0)
    app.sessions.trim()
    assert client.get("/health").json["photos"] == 0
    gone = client.get(first)
    assert gone.status_code == 404
    assert "send it again" in gone.json["error"]


def test_features_of_edits_are_forgotten_before_photos(
    app: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are two thirds of an edited photo, and computed again without an upload."""
    client = app.app.test_client()
    addresses = [upload_done(app), upload_done(app)]
    plain = sum(app.sessions.get(key.split("/")[-1]).nbytes for key in addresses)
    hint = {"x": 50, "y": 40, "color": "#b05a5a", "radius": 20}

    def edit(address: str) -> bytes:
        assert client.post(f"{address}/hints", json={"hints": [hint]}).status_code == 204
        return bytes(client.get(f"{address}/after.jpg?saturation=1").data)

    edited = edit(addresses[0])
    session = app.sessions.get(addresses[0].split("/")[-1])
    size = session.features_nbytes
    assert size > session.nbytes / 2
    monkeypatch.setattr(app.sessions, "max_bytes", plain + size + 100_000)  # of one photo
    edit(addresses[1])
    assert session.features_nbytes == 0
    assert app.sessions.get(addresses[1].split("/")[-1]).features_nbytes == size
    assert edit(addresses[0]) == edited

    with session.lock:  # an edit is going on
        assert not session.forget_features()
    monkeypatch.setattr(app.sessions, "max_bytes", plain + 100_000)
    app.sessions.trim()
    assert app.sessions.count() == 2


def test_uploads_never_touch_the_disk(app: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        pytest.fail("a temporary file was opened")

    for name in ("TemporaryFile", "SpooledTemporaryFile", "NamedTemporaryFile", "mkstemp"):
        monkeypatch.setattr(tempfile, name, refuse)
    noise = np.random.default_rng(1).integers(0, 256, (1200, 1200), np.uint8)
    large = cv2.imencode(".png", noise)[1].tobytes()
    assert len(large) > 1_000_000
    # Encoded here, since the test client itself would use a temporary file for it.
    boundary, body = encode_form({"model": "lite", "photo": (BytesIO(large), "noise.png")})
    client = app.app.test_client()
    content_type = f'multipart/form-data; boundary="{boundary}"'
    response = client.post("/photos", data=body, content_type=content_type)
    app.queue.submit(int).result()
    assert client.get(f"/photos/{response.json['id']}").json["state"] == "done"


def encode_form(values: dict[str, Any]) -> tuple[str, bytes]:
    from werkzeug.datastructures import FileStorage, MultiDict
    from werkzeug.test import encode_multipart

    files = {k: FileStorage(*v) if isinstance(v, tuple) else v for k, v in values.items()}
    return encode_multipart(MultiDict(files))


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Origin": "https://other.example"}, id="origin"),
        pytest.param({"Origin": "null"}, id="sandboxed page"),
        pytest.param({"Sec-Fetch-Site": "cross-site"}, id="fetch metadata"),
    ],
)
def test_other_sites_may_neither_upload_nor_delete(
    app: ModuleType, headers: dict[str, str]
) -> None:
    client = app.app.test_client()
    assert client.post("/photos", data=form(), headers=headers).status_code == 403
    address = upload_done(app)
    assert client.delete(address, headers=headers).status_code == 403
    own = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}
    assert client.delete(address, headers=own).status_code == 204
    assert client.get(address).status_code == 404


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("../../etc/passwd", "passwd.color.jpg"),
        ("C:\\temp\\photo.png", "photo.color.jpg"),
        ('a"; filename="evil.exe', None),
        ("line\r\nbreak.jpg", None),
        ("x" * 300, "x" * 100 + ".color.jpg"),
    ],
)
def test_results_are_private_and_have_a_safe_name(
    app: ModuleType, name: str, expected: str | None
) -> None:
    from werkzeug.http import parse_options_header

    session = importlib.import_module("sessions").Session(name, PHOTO.read_bytes())
    session.predict(colorcv.Colorizer("lite"))
    session.state = "done"
    key = app.sessions.add(session)
    response = app.app.test_client().get(f"/photos/{key}/result.jpg?saturation=1")
    assert response.headers["Cache-Control"] == "no-store"
    header = response.headers["Content-Disposition"]
    assert header.startswith("attachment; filename=")
    assert "\n" not in header
    _, options = parse_options_header(header)
    assert set(options) == {"filename"}
    assert expected is None or options["filename"] == expected
    assert options["filename"].endswith(".color.jpg")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"photo": (BytesIO(b""), "")}, "no photo", id="no file"),
        pytest.param({"photo": (BytesIO(b""), "a.jpg")}, "file is empty", id="empty file"),
        pytest.param({"model": "zhang2016"}, "no model 'zhang2016'", id="model that is not here"),
        pytest.param({"model": "../lite"}, "no model", id="no model's name"),
    ],
)
def test_wrong_forms_are_refused(app: ModuleType, changes: dict[str, Any], message: str) -> None:
    response = app.app.test_client().post("/photos", data=form(**changes))
    assert response.status_code == 400
    assert message in response.json["error"]
    assert not app.sessions.count()


@pytest.mark.parametrize("saturation", ["lots", "nan", "-1", "3.1", ""])
def test_wrong_saturations_are_refused(app: ModuleType, saturation: str) -> None:
    address = upload_done(app)
    response = app.app.test_client().get(f"{address}/after.jpg?saturation={saturation}")
    assert response.status_code == 400
    assert "between 0 and 3" in response.json["error"]


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
