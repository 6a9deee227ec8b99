"""Results of ``colorcv video``, played in headless Chromium: duration, size, colour and audio."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("av")

from colorcv.cli import main
from tests.helpers.clips import make_clip
from tests.video.test_timestamps import WRAP_S, join

PHOTO = Path(__file__).parents[2] / "examples" / "photos" / "tetons_1942.jpg"
FRAMES, SIZE_WH, RATE = 30, (192, 144), 25
SECONDS = FRAMES / RATE

# Playing ends by an error, or after a while, in place of waiting for ever.
PLAY = """() => new Promise((done, failed) => {
    const video = document.querySelector("video");
    setTimeout(() => failed(`stopped at ${video.currentTime} s`), 30000);
    video.onerror = () => failed(video.error.message);
    video.onended = () => done({
        duration: video.duration, at: video.currentTime,
        size: [video.videoWidth, video.videoHeight], audio: video.webkitAudioDecodedByteCount,
    });
    video.src = video.dataset.src;
    video.playbackRate = video.defaultPlaybackRate = 4;
    video.play().catch(() => {});
})"""


def photo_frames(size_wh: tuple[int, int] = SIZE_WH) -> list[Any]:
    """Return luma planes of a pan over a photo."""
    width, height = size_wh
    photo = cv2.imread(str(PHOTO), cv2.IMREAD_GRAYSCALE)
    wide = cv2.resize(photo, (width + FRAMES, height), interpolation=cv2.INTER_AREA)
    limited = np.rint(16 + wide * (219 / 255)).astype(np.uint8)
    return [limited[:, index : index + width] for index in range(FRAMES)]


def joined_vob(folder: Path) -> Path:
    make_clip(
        folder / "part.vob", rate=RATE, luma=photo_frames(), codec="mpeg2video", audio=["mp2"],
        size_wh=SIZE_WH, container_format="vob", options={"b": "2000000"},
    )  # fmt: skip
    join(folder / "joined.vob", folder / "part.vob", folder / "part.vob")
    return folder / "joined.vob"


def clip(folder: Path, name: str, **options: Any) -> Path:
    options = {"audio": ["aac"], "luma": photo_frames(), "size_wh": SIZE_WH, **options}
    make_clip(folder / name, rate=RATE, **options)
    return folder / name


INTERLACED = {"x264-params": "interlaced=1:tff=1", "crf": "8"}
# A source, the suffix of the result, and what a player shows: seconds, columns and rows.
CLIPS: dict[str, tuple[Any, str, float, tuple[int, int]]] = {
    "a VOB twice": (joined_vob, ".mp4", 2 * SECONDS, SIZE_WH),
    "the clock of a TS wraps": (
        lambda folder: clip(folder, "wrap.ts", start_s=WRAP_S - 0.5), ".mp4", SECONDS, SIZE_WH,
    ),
    "a TS starts at 1200 s": (
        lambda folder: clip(folder, "late.ts", start_s=1200), ".mp4", SECONDS, SIZE_WH,
    ),
    "the same as WebM": (
        lambda folder: clip(folder, "late.ts", start_s=1200), ".webm", SECONDS, SIZE_WH,
    ),
    "interlaced": (
        lambda folder: clip(folder, "lines.mkv", options=INTERLACED), ".mp4", SECONDS, SIZE_WH,
    ),
    "turned by 90 degrees": (
        lambda folder: clip(folder, "turned.mp4", rotation=90), ".mp4", SECONDS, SIZE_WH[::-1],
    ),
    "pixels of 64:45": (
        lambda folder: clip(folder, "wide.mkv", sample_aspect_ratio=Fraction(64, 45)), ".mp4",
        SECONDS, (273, 144),
    ),
    "pixels of 64:45 as WebM": (
        lambda folder: clip(folder, "wide.mkv", sample_aspect_ratio=Fraction(64, 45)), ".webm",
        SECONDS, (273, 144),
    ),
    "B frames in AVI": (
        lambda folder: clip(
            folder, "b.avi", codec="mpeg4", audio=["mp3"], options={"bf": "2", "b": "2000000"}
        ), ".mp4", SECONDS, SIZE_WH,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CLIPS)
def test_results_play(page: Any, tmp_path: Path, name: str) -> None:
    make, suffix, seconds, size_wh = CLIPS[name]
    output = tmp_path / f"out{suffix}"
    assert main(["video", str(make(tmp_path)), "-o", str(output), "--model", "lite", "-q"]) == 0
    (tmp_path / "page.html").write_text(f"<video muted data-src={output.name}></video>")
    page.goto((tmp_path / "page.html").as_uri())
    played = page.evaluate(PLAY)
    assert played["duration"] == pytest.approx(seconds, abs=0.12)
    assert played["at"] == pytest.approx(played["duration"], abs=0.05)
    assert played["size"] == pytest.approx(size_wh, abs=1)
    assert played["audio"] > 1000
    picture = page.locator("video").screenshot()
    bgr = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    assert float(np.ptp(bgr.astype(np.int16), axis=2).mean()) > 5
    assert bgr.std() > 20
