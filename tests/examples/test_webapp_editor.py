"""The colour editor of the web app in a real browser: the painted object changes, others stay."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

from tests.examples.test_browser import PHOTO, send, upload_done, wait_for_preview

RED = "#b05a5a"
# In fractions of the photo: the middle of the sky, and the meadow at the bottom left.
SKY, MEADOW = (0.5, 0.12), (0.12, 0.9)


def ab_of(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_BGR2LAB)[..., 1:]


def preview(page: Any, server: str) -> np.ndarray:
    """Return ab of what the page shows after all that was asked for is there."""
    page.wait_for_load_state("networkidle")
    page.wait_for_selector("#pair:not(.stale)")
    data = page.request.get(f"{server}/{page.get_attribute('#after', 'src')}").body()
    return ab_of(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))


def at(ab: np.ndarray, place: tuple[float, float]) -> np.ndarray:
    """Return the mean ab around a place."""
    height, width = ab.shape[:2]
    x, y, side = round(place[0] * width), round(place[1] * height), width // 20
    return ab[max(y - side, 0) : y + side, max(x - side, 0) : x + side].mean(axis=(0, 1))


def stroke(page: Any, place: tuple[float, float], length: float = 0.15) -> None:
    box = page.locator("#canvas").bounding_box()
    x, y = box["x"] + place[0] * box["width"], box["y"] + place[1] * box["height"]
    page.mouse.move(x - length / 2 * box["width"], y)
    page.mouse.down()
    page.mouse.move(x + length / 2 * box["width"], y, steps=10)
    page.mouse.up()


def open_editor(page: Any, server: str, photo: Path = PHOTO) -> None:
    page.set_viewport_size({"width": 1280, "height": 1400})
    page.goto(server)
    send(page, photo)
    wait_for_preview(page, "1")
    page.click("#edit")


def test_painted_object_takes_the_colour_and_another_keeps_its_own(
    page: Any,
    server: str,
    tmp_path: Path,
) -> None:
    open_editor(page, server)
    guess = preview(page, server)
    page.click("[data-tool=brush]")
    page.fill("#color", RED)
    stroke(page, SKY)
    painted = preview(page, server)
    red = ab_of(np.array([[[0x5A, 0x5A, 0xB0]]], np.uint8))[0, 0]
    moved = np.linalg.norm(at(painted, SKY) - at(guess, SKY))
    assert np.linalg.norm(at(painted, SKY) - red) < 10 < moved
    assert np.linalg.norm(at(painted, MEADOW) - at(guess, MEADOW)) < moved / 4

    page.keyboard.press("Control+z")
    assert np.abs(preview(page, server) - guess).max() < 1
    page.keyboard.press("Control+Shift+z")
    assert np.abs(preview(page, server) - painted).max() < 1

    with page.expect_download() as download:
        page.click("#save-hints")
    hints = tmp_path / "saved.json"
    download.value.save_as(hints)
    assert json.loads(hints.read_text("utf-8"))["strokes"][0]["color"] == RED
    page.click("[data-tool=eraser]")
    stroke(page, SKY, 0.01)
    assert np.abs(preview(page, server) - guess).max() < 1
    page.set_input_files("#load-hints", hints)
    page.wait_for_function("() => current.edits.strokes.length && !current.sending")
    assert np.abs(preview(page, server) - painted).max() < 1

    with page.expect_download() as download:
        page.click("#download")
    download.value.save_as(tmp_path / "result.jpg")
    result = ab_of(cv2.imread(str(tmp_path / "result.jpg")))
    assert np.linalg.norm(at(result, SKY) - at(painted, SKY)) < 2


def test_object_painted_in_its_own_colour_keeps_it(page: Any, server: str) -> None:
    open_editor(page, server)
    guess = preview(page, server)
    page.click("[data-tool=brush]")
    lab = np.array([[[60, *at(guess, MEADOW)]]], np.float32)
    own = np.rint(255 * cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)[0, 0]).astype(np.uint8)
    page.fill("#color", "#" + own.tobytes().hex())
    stroke(page, MEADOW)
    page.fill("#color", RED)
    stroke(page, SKY)
    painted = preview(page, server)
    assert np.linalg.norm(at(painted, SKY) - at(guess, SKY)) > 40
    assert np.linalg.norm(at(painted, MEADOW) - at(guess, MEADOW)) < 4


def test_point_by_keyboard_shows_suggested_colours(page: Any, server: str) -> None:
    open_editor(page, server)
    guess = preview(page, server)
    page.focus("#canvas")
    for _ in range(9):
        page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    page.wait_for_selector("#swatches button")
    assert page.locator("#swatches button").count() > 2
    assert "probable" in page.locator("#swatches button").first.get_attribute("aria-label")
    page.locator("#swatches button").nth(1).press("Enter")
    assert np.abs(preview(page, server) - guess).max() > 2
    page.click("#undo")
    assert np.abs(preview(page, server) - guess).max() < 1
    assert page.is_disabled("#undo")
    assert page.is_enabled("#redo")


def test_quick_stroke_has_no_gaps(page: Any, server: str) -> None:
    """A quick hand sends two events only; one that presses another button paints nothing."""
    open_editor(page, server)
    page.click("[data-tool=brush]")
    box = page.locator("#canvas").bounding_box()
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 60)
    page.mouse.down(button="right")
    page.mouse.up(button="right")
    page.mouse.down()
    page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 60, steps=1)
    page.mouse.up()
    (stroke,) = page.evaluate("current.edits.strokes")
    points = np.array(stroke["points"])
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    assert steps.max() < 2 * stroke["radius"]
    assert np.ptp(points[:, 0]) == pytest.approx(0.6 * 1200, rel=0.01)
    preview(page, server)


def test_one_way_of_the_eraser_is_one_step(page: Any, server: str) -> None:
    open_editor(page, server)
    page.click("[data-tool=brush]")
    for height in (0.2, 0.4, 0.6):
        stroke(page, (0.3, height))
    page.click("[data-tool=eraser]")
    stroke(page, (0.8, 0.8))  # where nothing is
    box = page.locator("#canvas").bounding_box()
    x, y = box["x"] + 0.3 * box["width"], box["y"] + 0.1 * box["height"]
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x, y + 0.6 * box["height"], steps=30)
    page.mouse.up()
    assert page.evaluate("current.edits.strokes.length") == 0
    page.click("#undo")
    assert page.evaluate("current.edits.strokes.length") == 3
    page.click("#undo")
    assert page.evaluate("current.edits.strokes.length") == 2
    preview(page, server)


def test_saved_hints_give_the_same_download_in_a_new_visit(
    page: Any, server: str, tmp_path: Path
) -> None:
    def download(button: str, name: str) -> bytes:
        preview(page, server)
        with page.expect_download() as download:
            page.click(button)
        download.value.save_as(tmp_path / name)
        return (tmp_path / name).read_bytes()

    open_editor(page, server)
    guess = download("#download", "guess.jpg")
    page.click("[data-tool=brush]")
    page.fill("#color", RED)
    stroke(page, SKY)
    page.fill("#saturation", "1.3")
    edited = download("#download", "edited.jpg")
    download("#save-hints", "saved.json")
    open_editor(page, server)
    page.fill("#saturation", "1")
    assert download("#download", "again.jpg") == guess
    page.set_input_files("#load-hints", tmp_path / "saved.json")
    page.wait_for_function("() => current.edits.strokes.length && !current.sending")
    assert download("#download", "loaded.jpg") == edited != guess
    assert page.inner_text("#factor") == "1.3"

    before = page.evaluate("current.edits.strokes")
    for change in ({"width": 100}, {"strokes": None}, {"strokes": [before[0] | {"color": "red"}]}):
        wrong = json.loads((tmp_path / "saved.json").read_text("utf-8")) | change
        (tmp_path / "wrong.json").write_text(json.dumps(wrong), encoding="utf-8")
        page.set_input_files("#load-hints", tmp_path / "wrong.json")
        page.wait_for_selector("#error:not([hidden])")
        assert "wrong.json: not the hints" in page.inner_text("#error")
        assert page.evaluate("current.edits.strokes") == before
        page.evaluate("complain('')")


def test_finger_picks_a_suggested_colour_and_paints(browser: Any, server: str) -> None:
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, color_scheme="dark"
    )
    page = context.new_page()
    page.goto(server)
    page.set_input_files("#photo", PHOTO)
    wait_for_preview(page, "1")
    page.tap("#edit")
    canvas = page.locator("#canvas")
    canvas.scroll_into_view_if_needed()
    top = canvas.bounding_box()["y"]
    canvas.tap()
    page.locator(".swatch").nth(1).tap()
    assert canvas.bounding_box()["y"] == top  # the photo stays below the finger
    page.tap("[data-tool=brush]")
    box = canvas.bounding_box()
    x, y = box["x"] + box["width"] / 4, box["y"] + box["height"] / 8
    touch = context.new_cdp_session(page)
    for kind, places in (("Start", [0]), ("Move", [30]), ("Move", [60]), ("End", [])):
        points = [{"x": x + dx, "y": y} for dx in places]
        touch.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": points})
    page.wait_for_function("() => current.edits.strokes.length === 2 && !current.sending")
    point, line = page.evaluate("current.edits.strokes")
    assert len(point["points"]) == 1 < len(line["points"])
    assert line["color"] == point["color"]
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    context.close()


def test_colours_of_another_photo(
    page: Any,
    server: str,
    tmp_path: Path,
) -> None:
    open_editor(page, server)
    guess = preview(page, server)
    rng = np.random.default_rng(0)
    colors = cv2.applyColorMap(cv2.resize(rng.integers(0, 256, (6, 6), np.uint8), (300, 300)), 2)
    cv2.imwrite(str(tmp_path / "colors.png"), colors)
    send(page, tmp_path / "colors.png", to="#other", kind="image/png")
    page.wait_for_selector("#no-reference:not([hidden])")
    assert page.inner_text("#no-reference") == "Without colors.png"
    assert page.is_hidden("#photos")  # no second photo to be coloured
    assert np.abs(preview(page, server) - guess).max() > 2
    page.click("#no-reference")
    page.wait_for_selector("#no-reference", state="hidden")
    assert np.abs(preview(page, server) - guess).max() < 1


def test_wrong_hints_and_references_are_refused_and_change_nothing(
    app: ModuleType,
) -> None:
    address = upload_done(app)
    client = app.app.test_client()
    before = client.get(f"{address}/result.png?saturation=1").data
    point = {"x": 10, "y": 10, "color": "#aa5533"}
    for hints in (
        None,
        "x",
        [1],
        [{"x": 10}],
        [point | {"color": "nonsense"}],
        [point | {"x": 99999}],
        [point | {"x": "1"}],
        [point | {"radius": -1}],
        [point | {"x": 10**400}],
        [point | {"color": "x" * 100_000}],
        [point] * (app.MAX_HINTS + 1),
    ):
        response = client.post(f"{address}/hints", json={"hints": hints})
        assert response.status_code == 400, hints
        assert 0 < len(response.json["error"]) < 400
    deep = client.post(f"{address}/hints", data="[" * 100_000, content_type="application/json")
    assert deep.status_code == 400
    response = client.post(f"{address}/reference", data={"photo": (PHOTO.open("rb"), "grey.jpg")})
    assert response.status_code == 400
    assert "grey" in response.json["error"]
    assert client.get(f"{address}/suggestions?x=-1&y=0").status_code == 400
    assert client.get(f"{address}/result.png?saturation=1").data == before
    everywhere = client.post(f"{address}/hints", json={"hints": [point | {"radius": 1e308}]})
    assert everywhere.status_code == 204
    assert client.post(f"{address}/hints", json={"hints": [point]}).status_code == 204
    assert client.get(f"{address}/result.png?saturation=1").data != before


def test_edits_wait_for_each_other(app: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    address = upload_done(app)
    client = app.app.test_client()
    monkeypatch.setattr(app, "MAX_WAIT_S", 0.01)
    with contextlib.ExitStack() as others:
        for _ in range(app.MAX_EDITS):
            others.enter_context(app.one_of(app.edits))
        busy = client.post(f"{address}/hints", json={"hints": []})
        assert busy.status_code == 503  # which the page repeats
        assert "try again" in busy.json["error"]
    assert client.post(f"{address}/hints", json={"hints": []}).status_code == 204


@pytest.mark.parametrize("width", [320, 1280])
def test_editor_fits_its_window(page: Any, server: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(server)
    send(page, PHOTO)
    wait_for_preview(page, "1")
    page.click("#edit")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    canvas, pair = (page.locator(name).bounding_box() for name in ("#canvas", "#pair"))
    assert canvas == pytest.approx(pair)
