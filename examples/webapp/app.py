"""A small web app: drop a photo, watch it gain colour, download it.

    waitress-serve --listen=127.0.0.1:8080 app:app

One process: the queue lives in its memory. One picture is coloured at a time, the others wait,
and the page goes on answering. For the open internet put it behind a server that speaks TLS.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

MAX_MP = int(os.environ.get("COLORCV_APP_MEGAPIXELS", "40"))
MAX_MB = int(os.environ.get("COLORCV_APP_MEGABYTES", "25"))
# OpenCV reads this limit when it is loaded, and refuses larger pictures by their header, before
# anything is unpacked.
os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(MAX_MP * 1_000_000)

import cv2  # noqa: E402
import numpy as np  # noqa: E402
from flask import Flask, abort, jsonify, render_template, request  # noqa: E402
from werkzeug.exceptions import HTTPException  # noqa: E402

import colorcv  # noqa: E402

WAITING_MOST, KEPT_MOST = 8, 24  # photos in the queue, and in memory with their results


@dataclass
class Photo:
    """One upload on its way: waiting, done or failed; before and after are JPEGs."""

    name: str
    state: str = "waiting"
    error: str = ""
    before: bytes = b""
    after: bytes = b""


app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = MAX_MB * 1_000_000 + 10_000  # the photo and its form
photos: dict[str, Photo] = {}  # the oldest first
lock = threading.Lock()
queue = ThreadPoolExecutor(1)


def models() -> list[str]:
    """The models whose files are here: no visitor starts a download."""
    return [model.name for model in colorcv.models() if model.state in ("ready", "bundled")]


def color(photo: Photo, upload: bytes, model: str, saturation: float) -> None:
    """Colour one upload; runs in the queue's only thread."""
    try:
        before = decode(upload)
        after = colorcv.colorize(before, model=model, saturation=saturation)
        photo.before, photo.after = (cv2.imencode(".jpg", p)[1].tobytes() for p in (before, after))
        photo.state = "done"
    except colorcv.ColorcvError as err:
        photo.error, photo.state = f"{photo.name}: {err}", "failed"
    except Exception:
        app.logger.exception("a photo could not be coloured")
        photo.error, photo.state = f"{photo.name}: something went wrong here", "failed"


def decode(upload: bytes) -> np.ndarray:
    """The picture upright, (H, W, 3) uint8, BGR."""
    try:
        picture = cv2.imdecode(np.frombuffer(upload, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as err:
        raise colorcv.ImageError(f"over {MAX_MP} megapixels, or damaged") from err
    if picture is None:
        raise colorcv.ImageError("not a picture that can be read here")
    return picture


def count_waiting(some: Iterable[Photo]) -> int:
    return sum(photo.state == "waiting" for photo in some)


@app.get("/")
def show_page():
    return render_template("page.html", models=models(), max_mb=MAX_MB, max_mp=MAX_MP)


@app.post("/photos")
def add_photo():
    upload = request.files.get("photo")
    if upload is None or not upload.filename:
        abort(400, "no photo came with the form")
    model = request.form.get("model")
    if model not in models():
        abort(400, f"there is no model {model!r} here")
    saturation = request.form.get("saturation", -1.0, type=float)
    if not 0 <= saturation <= 3:  # nor is NaN
        abort(400, "saturation is a number from 0 to 3")
    photo, key = Photo(upload.filename), secrets.token_urlsafe(16)
    with lock:
        if count_waiting(photos.values()) >= WAITING_MOST:
            abort(503, "many photos are waiting already; try again in a minute")
        while len(photos) >= KEPT_MOST:
            del photos[next(iter(photos))]
        photos[key] = photo
        queue.submit(color, photo, upload.read(), model, saturation)
    return jsonify(id=key), 202


@app.get("/photos/<key>")
def show_state(key: str):
    with lock:
        photo = photos.get(key) or abort(404, "this photo is not here any more")
        ahead = count_waiting(list(photos.values())[: list(photos).index(key)])
    return jsonify(state=photo.state, ahead=ahead, error=photo.error)


@app.get("/photos/<key>/<any(before, after):which>.jpg")
def show_picture(key: str, which: str):
    photo = photos.get(key)
    if photo is None or photo.state != "done":
        abort(404, "this photo is not here")
    return app.response_class(getattr(photo, which), mimetype="image/jpeg")


@app.get("/health")
def health():
    return jsonify(status="ok", waiting=count_waiting(list(photos.values())), models=models())


@app.errorhandler(HTTPException)
def explain(err: HTTPException):
    text = f"over {MAX_MB} megabytes" if err.code == 413 else err.description
    return jsonify(error=text), err.code


@app.after_request
def harden(response):
    response.headers["Content-Security-Policy"] = "default-src 'self'; frame-ancestors 'none'"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
