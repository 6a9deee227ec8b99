"""Uploads in memory: the state kept of each, and the limits on all of them together."""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import dataclass, field

import cv2
import numpy as np

import colorcv
from colorcv.color.lab import upsample_chroma
from colorcv.frames import predict_chroma
from colorcv.image.source import SourceImage
from colorcv.steering.editing import Reference, SteeredImage, suggest
from colorcv.steering.hints import Hint, observe

PREVIEW_SIDE = 1600  # pixels, the longest side of what the page shows
ENCODE = {
    "jpg": [cv2.IMWRITE_JPEG_QUALITY, 92],
    "png": [cv2.IMWRITE_PNG_COMPRESSION, 3],
}


@dataclass(eq=False)  # sessions are told apart by identity
class Session:
    """One upload and the network's prediction for it, so that a slider needs no network.

    The file's bytes are kept rather than its pixels: they are some twenty times smaller, and
    only a download needs the image at full size.
    """

    name: str
    upload: bytes
    state: str = "waiting"  # or "done", "failed"
    error: str = ""
    size_wh: tuple[int, int] = (0, 0)
    preview: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.uint8))
    chroma: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 2), np.float32))
    before: bytes = b""
    used: float = field(default_factory=time.monotonic)
    lightness: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    hints: list[Hint] = field(default_factory=list)
    reference: bytes = b""
    # From the first edit on: what the network sees of the photo, and of the reference.
    colorizer: colorcv.Colorizer | None = None
    seen: SteeredImage | None = None
    colors: Reference | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def nbytes(self) -> int:
        size = sum(map(len, (self.upload, self.before, self.reference)))
        return size + self.preview.nbytes + self.chroma.nbytes + self.features_nbytes

    @property
    def features_nbytes(self) -> int:
        """Bytes that `forget_features` releases, two thirds of a photo that was edited."""
        seen = self.seen  # another thread may forget it
        if seen is None:
            return 0
        return seen.features.nbytes + seen.features.shape[2] * self.lightness.nbytes

    def forget_features(self) -> bool:
        """Drop what the next edit can compute again; return False if an edit is going on."""
        if not self.lock.acquire(blocking=False):
            return False
        self.seen = self.colors = None
        self.lock.release()
        return True

    def predict(self, colorizer: colorcv.Colorizer) -> None:
        """Read the upload, run the network, and keep the previews in grey and in colour."""
        image = SourceImage(self.upload)
        with self.lock:
            self.lightness = image.lightness_at(colorizer.input_hw)
            self.chroma = upsample_chroma(predict_chroma(colorizer, self.lightness), self.lightness)
            self.colorizer, self.seen, self.colors = colorizer, None, None
            if self.hints or self.reference:
                self._steer()
        if not self.before:
            pixels = image.colored(self.chroma, saturation=0)
            height, width = pixels.shape[:2]
            self.size_wh = width, height
            scale = min(1, PREVIEW_SIDE / max(width, height))
            small_wh = max(1, round(width * scale)), max(1, round(height * scale))
            self.preview = eight_bits(cv2.resize(pixels, small_wh, interpolation=cv2.INTER_AREA))
            self.before = encode(self.preview, "jpg")

    def edit(self, hints: list[Hint] | None = None, reference: bytes | None = None) -> None:
        """Replace the hints or the reference (empty bytes: none), and colour accordingly."""
        with self.lock:
            before = self.hints, self.reference, self.colors
            self.hints = self.hints if hints is None else hints
            if reference is not None:
                self.reference, self.colors = reference, None
            try:
                self._steer()
            except Exception:
                self.hints, self.reference, self.colors = before
                raise

    def suggest(self, x: float, y: float) -> list[colorcv.Suggestion]:
        """Return plausible colours of a place, in pixels of the upright photo."""
        with self.lock:
            seen = self._see()
            return suggest(self.colorizer, seen, self.size_wh[::-1], x, y, 6)

    def _see(self) -> SteeredImage:
        if self.seen is None:
            self.seen = SteeredImage(self.colorizer, self.lightness)
        return self.seen

    def _steer(self) -> None:
        seen = self._see()
        if self.reference and self.colors is None:
            self.colors = Reference(self.colorizer, self.reference)
        grid_hw = self.lightness.shape
        observed = observe(self.hints, self.size_wh[::-1], grid_hw, "bgr") if self.hints else None
        self.chroma = seen.chroma(observed, self.colors)

    def render_preview(self, saturation: float) -> bytes:
        """Return the preview in colour as JPEG."""
        image = SourceImage(self.preview)
        return encode(image.colored(self.chroma, saturation=saturation), "jpg")

    def render(self, suffix: str, saturation: float, *, deep: bool) -> bytes:
        """Return the result at full size as JPEG or PNG; `deep` is 16 bits per channel."""
        image = SourceImage(self.upload)
        if deep:
            pixels = image.colored(self.chroma, saturation=0)
            if pixels.dtype == np.uint8:
                image = SourceImage(pixels.astype(np.uint16) * 257)
        colored = image.colored(self.chroma, saturation=saturation)
        return encode(colored if deep else eight_bits(colored), suffix)


def eight_bits(pixels: np.ndarray) -> np.ndarray:
    """Return 8 bits per channel, rounded."""
    if pixels.dtype == np.uint8:
        return pixels
    full = 1 if pixels.dtype.kind == "f" else np.iinfo(pixels.dtype).max
    return np.clip(np.rint(pixels * (255 / full)), 0, 255).astype(np.uint8)


def encode(pixels: np.ndarray, suffix: str) -> bytes:
    """Return a JPEG without alpha, or a PNG."""
    if pixels.dtype.kind == "f":
        pixels = np.rint(np.clip(pixels, 0, 1) * 65535).astype(np.uint16)
    if suffix == "jpg":
        pixels = pixels[..., :3]
    return cv2.imencode(f".{suffix}", pixels, ENCODE[suffix])[1].tobytes()


class Sessions:
    """Sessions by key; limits on memory and age remove the least recently used first."""

    def __init__(self, max_bytes: int, max_age_s: float) -> None:
        self.max_bytes, self.max_age_s = max_bytes, max_age_s
        self.lock = threading.Lock()
        self._sessions: dict[str, Session] = {}  # the least recently used first

    def add(self, session: Session) -> str:
        key = secrets.token_urlsafe(16)
        with self.lock:
            self._sessions[key] = session
        self.trim()
        return key

    def get(self, key: str) -> Session | None:
        with self.lock:
            session = self._sessions.pop(key, None)
            if session is not None:
                session.used = time.monotonic()
                self._sessions[key] = session
            return session

    def remove(self, key: str) -> bool:
        with self.lock:
            return self._sessions.pop(key, None) is not None

    def trim(self) -> None:
        """Drop expired sessions, and the least recently used until the rest fits in memory.

        Features go first: without them an edit takes one run of the network more, while a session
        that was dropped has to be uploaded again.
        """
        with self.lock:
            oldest = time.monotonic() - self.max_age_s
            idle = [s for s in self._sessions.items() if s[1].state != "waiting"]
            for key, session in idle:
                if session.used < oldest:
                    del self._sessions[key]
            total = sum(session.nbytes for session in self._sessions.values())
            for _, session in idle:
                size = session.features_nbytes
                if total > self.max_bytes and size and session.forget_features():
                    total -= size
            for key, session in idle:
                if total > self.max_bytes and self._sessions.pop(key, None):
                    total -= session.nbytes

    def count(self) -> int:
        with self.lock:
            return len(self._sessions)
