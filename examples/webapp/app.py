"""A small web app: drop photos, see them in colour behind a slider, download them.

    python app.py [--listen 127.0.0.1:8080]

One process, since uploads stay in its memory and never touch the disk. The network colours one
photo at a time; a slider needs no network, so it redraws at once. For the open internet put it
behind a server that speaks TLS and limits requests by visitor.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import PurePosixPath
from urllib.parse import urlsplit

MAX_MP = int(os.environ.get("COLORCV_APP_MEGAPIXELS", "40"))
MAX_MB = int(os.environ.get("COLORCV_APP_MEGABYTES", "25"))
MEMORY_MB = int(os.environ.get("COLORCV_APP_MEMORY_MB", "500"))
MINUTES = float(os.environ.get("COLORCV_APP_MINUTES", "30"))
# Larger images are refused by their header. OpenCV reads its limit when it is imported.
os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(MAX_MP * 1_000_000)
os.environ["COLORCV_MAX_PIXELS"] = str(MAX_MP * 1_000_000)

from flask import Flask, Request, abort, jsonify, render_template, request, send_file  # noqa: E402
from sessions import Session, Sessions  # noqa: E402
from werkzeug.exceptions import HTTPException  # noqa: E402

import colorcv  # noqa: E402

MAX_WAITING = 8  # photos in the queue
MAX_HINTS = 3000  # points of strokes; the library thins them to some 300
MAX_DOWNLOADS = 2  # at full size at the same time: each takes some 10 bytes a pixel
# At the same time: each takes up to 100 MB; of eight at once, none ends before the others.
MAX_EDITS = 2
MAX_WAIT_S = 20  # for one of these
MAX_BODY = MAX_MB * 1_000_000 + 10_000  # the photo and its form
# Bounds on slow visitors. A connection without traffic for 20 seconds is closed; until then it
# holds one of 1000 places, where waitress' default of 100 locks everybody out.
SERVER = {
    "threads": 8,
    "connection_limit": 1000,
    "channel_timeout": 20,
    "cleanup_interval": 5,
    "asyncore_use_poll": True,  # select() ends at 1024 file descriptors
    "max_request_body_size": MAX_BODY,  # refused by its header, before a byte is read
    "inbuf_overflow": MAX_BODY + 1,  # below it waitress keeps a request in memory
    "ident": None,
}


class InMemoryRequest(Request):
    """A request whose uploads are never spooled to temporary files."""

    def _get_file_stream(self, *_args: object, **_kwargs: object) -> BytesIO:
        return BytesIO()


app = Flask(__name__)
app.request_class = InMemoryRequest
app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
sessions = Sessions(MEMORY_MB * 1_000_000, MINUTES * 60)
queue = ThreadPoolExecutor(1)
waiting: list[Session] = []  # the next first
lock = threading.Lock()  # of `waiting` and `colorizers`
colorizers: dict[str, colorcv.Colorizer] = {}
downloads = threading.BoundedSemaphore(MAX_DOWNLOADS)
edits = threading.BoundedSemaphore(MAX_EDITS)


def models() -> list[str]:
    """Return the models whose files are present, so that no visitor starts a download."""
    return [model.name for model in colorcv.models() if model.state in ("ready", "bundled")]


def predict(session: Session, model: str) -> None:
    """Run the network on one upload; called in the queue's only thread."""
    try:
        if model not in colorizers:
            colorizers[model] = colorcv.Colorizer(model)
        session.predict(colorizers[model])
        session.state = "done"
    except colorcv.ImageError as err:
        session.state, session.error = "failed", f"{session.name}: {explain(err, session)}"
    except Exception:
        app.logger.exception("an upload could not be coloured")
        session.state, session.error = "failed", f"{session.name}: something went wrong here"
    with lock:
        waiting.remove(session)
    if session.state == "failed":
        session.upload = b""
    sessions.trim()


def explain(err: colorcv.ImageError, session: Session) -> str:
    """Return the error of the library in words for a visitor."""
    if not session.upload:
        return "the file is empty"
    if "MAX_PIXELS" in str(err) or "MAX_IMAGE_PIXELS" in str(err):
        return f"over {MAX_MP} megapixels"
    return "not an image that can be read here, or damaged"


def explain_hint(err: colorcv.ColorcvError) -> str:
    """Return the error of the library, which quotes what the visitor sent."""
    return str(err) if len(str(err)) < 300 else f"{str(err)[:200]} ..."


def enqueue(session: Session, model: str) -> None:
    with lock:
        if len(waiting) >= MAX_WAITING:
            abort(503, "many photos are waiting already; try again in a minute")
        waiting.append(session)
    session.state, session.error = "waiting", ""
    queue.submit(predict, session, model)


def requested_model() -> str:
    model = request.form.get("model")
    if model not in models():
        abort(400, f"there is no model {model!r} here")
    return model


def requested_saturation() -> float:
    saturation = request.args.get("saturation", -1.0, type=float)
    if not 0 <= saturation <= 3:  # true for NaN too
        abort(400, "saturation must be between 0 and 3")
    return saturation


def find(key: str, *, state: str | None = None) -> Session:
    session = sessions.get(key)
    if session is None:
        abort(404, "this photo is not here any more; please send it again")
    if state and session.state != state:
        abort(409, session.error or "this photo is being coloured; try again in a moment")
    return session


@contextlib.contextmanager
def one_of(places: threading.Semaphore):
    """Hold one of the places for work of a kind; answer 503 if none gets free in time."""
    if not places.acquire(timeout=MAX_WAIT_S):
        abort(503, "many visitors are at work; try again in a minute")
    try:
        yield
    finally:
        places.release()


@app.before_request
def refuse_other_sites() -> None:
    """Reject requests to upload or delete that another site's page makes a browser send."""
    if request.method in ("GET", "HEAD", "OPTIONS"):
        return
    origin = request.headers.get("Origin")
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none") or (
        origin and urlsplit(origin).netloc != request.host
    ):
        abort(403, "requests from other sites are not accepted")


@app.get("/")
def show_page():
    return render_template("page.html", models=models(), max_mb=MAX_MB, max_mp=MAX_MP,
                           minutes=f"{MINUTES:g}")  # fmt: skip


@app.post("/photos")
def add_photo():
    model = requested_model()
    upload = request.files.get("photo")
    if upload is None or not upload.filename:
        abort(400, "there is no photo in the form")
    session = Session(upload.filename, upload.read())
    if not session.upload:
        abort(400, f"{session.name}: the file is empty")
    enqueue(session, model)
    return jsonify(id=sessions.add(session)), 202


@app.post("/photos/<key>/model")
def change_model(key: str):
    session = find(key, state="done")
    enqueue(session, requested_model())
    return jsonify(id=key), 202


@app.get("/photos/<key>")
def show_state(key: str):
    session = find(key)
    with lock:
        ahead = waiting.index(session) if session in waiting else 0
    width, height = session.size_wh
    return jsonify(
        state=session.state, ahead=ahead, error=session.error, width=width, height=height
    )


@app.get("/photos/<key>/suggestions")
def suggest_colors(key: str):
    session = find(key, state="done")
    try:
        x, y = (request.args.get(name, -1.0, type=float) for name in "xy")
        with one_of(edits):
            found = session.suggest(x, y)
    except colorcv.ColorcvError as err:
        abort(400, explain_hint(err))
    sessions.trim()
    return jsonify([{"color": s.color, "probability": round(s.probability, 3)} for s in found])


@app.post("/photos/<key>/hints")
def set_hints(key: str):
    """Replace all hints: the page keeps the list, for undo and redo."""
    session = find(key, state="done")
    try:
        given = request.get_json(silent=True)
    except RecursionError:  # lists in lists in lists
        given = None
    given = given.get("hints") if isinstance(given, dict) else None
    if not isinstance(given, list) or len(given) > MAX_HINTS:
        abort(400, f"expected a list of at most {MAX_HINTS} hints")
    try:
        hints = [
            colorcv.Hint(hint["x"], hint["y"], str(hint["color"]), hint.get("radius", 0))
            for hint in given
        ]
        with one_of(edits):
            session.edit(hints=hints)
    except (AttributeError, KeyError, TypeError):
        abort(400, "a hint has x, y, color and perhaps radius")
    except colorcv.ColorcvError as err:
        abort(400, explain_hint(err))
    sessions.trim()
    return "", 204


@app.post("/photos/<key>/reference")
def set_reference(key: str):
    """Set the reference to another photo, or to none if the form has no file."""
    session, upload = find(key, state="done"), request.files.get("photo")
    try:
        with one_of(edits):
            session.edit(reference=upload.read() if upload else b"")
    except colorcv.ImageError as err:
        grey = "it is grey, so that it has no colours to take" if "grey" in str(err) else ""
        abort(400, f"{upload.filename}: {grey or 'not an image that can be read here'}")
    sessions.trim()
    return "", 204


@app.delete("/photos/<key>")
def delete_photo(key: str):
    if not sessions.remove(key):
        abort(404, "this photo is not here any more")
    return "", 204


@app.get("/photos/<key>/before.jpg")
def show_before(key: str):
    return app.response_class(find(key, state="done").before, mimetype="image/jpeg")


@app.get("/photos/<key>/after.jpg")
def show_after(key: str):
    preview = find(key, state="done").render_preview(requested_saturation())
    return app.response_class(preview, mimetype="image/jpeg")


@app.get("/photos/<key>/result.<any(jpg, png):suffix>")
def download(key: str, suffix: str):
    session, saturation = find(key, state="done"), requested_saturation()
    with one_of(downloads):
        result = session.render(suffix, saturation, deep=request.args.get("depth") == "16")
    # The visitor's own name, without folders and control characters; Werkzeug quotes the rest.
    name = PurePosixPath(session.name.replace("\\", "/")).stem
    name = "".join(char for char in name if char.isprintable())[:100] or "photo"
    return send_file(
        BytesIO(result),
        mimetype="image/jpeg" if suffix == "jpg" else "image/png",
        as_attachment=True,
        download_name=f"{name}.color.{suffix}",
    )


@app.get("/health")
def health():
    return jsonify(status="ok", waiting=len(waiting), photos=sessions.count(), models=models())


@app.errorhandler(HTTPException)
def show_error(err: HTTPException):
    text = f"over {MAX_MB} megabytes" if err.code == 413 else err.description
    return jsonify(error=text), err.code


@app.after_request
def harden(response):
    response.headers["Content-Security-Policy"] = "default-src 'self'; frame-ancestors 'none'"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    if request.endpoint != "static":
        response.headers["Cache-Control"] = "no-store"
    return response


def return_free_memory() -> None:
    """Give memory that was freed back to the system: glibc keeps some 500 MB of 200 photos."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another system or C library
        ctypes.CDLL(None).malloc_trim(0)


def main() -> None:
    from waitress import serve

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--listen", default="127.0.0.1:8080", metavar="HOST:PORT")
    options = parser.parse_args()
    logging.basicConfig(format="%(message)s")
    logging.getLogger("waitress").setLevel(logging.INFO)

    def forget_old_uploads() -> None:
        while not stop.wait(15):
            sessions.trim()
            return_free_memory()

    stop = threading.Event()
    threading.Thread(target=forget_old_uploads, daemon=True).start()
    serve(app, listen=options.listen, **SERVER)


if __name__ == "__main__":
    main()
