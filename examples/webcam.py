"""Colour a camera live: grey on the left, in colour on the right.

    python webcam.py                             # camera 0; q quits, s saves a still
    python webcam.py --camera 1 --record me.mp4  # another camera, recorded as well
    python webcam.py --camera film.mp4           # a video in place of a camera

The small model colours each frame before the next one is read. Recording needs no window, so it
works without a display and with opencv-python-headless.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import deque
from collections.abc import Iterator
from itertools import islice, tee
from pathlib import Path

import cv2
import numpy as np

import colorcv

TITLE = "colorcv: q quits, s saves a still"


def read_grey(camera: cv2.VideoCapture) -> Iterator[np.ndarray]:
    """Yield the camera's frames in grey, (H, W) uint8, until there are no more."""
    while True:
        ok, frame = camera.read()
        if not ok:
            return
        yield cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY) if frame.ndim == 3 else frame


def open_camera(name: str) -> cv2.VideoCapture:
    camera = cv2.VideoCapture(int(name) if name.isdigit() else name)
    if not camera.isOpened():
        sys.exit(f"camera {name} cannot be opened; is it connected, and not in use?")
    camera.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # the newest frame, not a buffered one
    return camera


def open_recorder(path: Path, fps: float, size_wh: tuple[int, int]) -> cv2.VideoWriter:
    code = "MJPG" if path.suffix.lower() == ".avi" else "mp4v"
    recorder = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), fps, size_wh)
    if not recorder.isOpened():
        sys.exit(f"{path} cannot be written; use an .mp4 or .avi in an existing folder")
    return recorder


def can_show() -> bool:
    # Without a display OpenCV's Qt aborts the process; an OpenCV without windows raises.
    if sys.platform.startswith("linux") and "DISPLAY" not in os.environ:
        return False
    try:
        cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_GUI_NORMAL)
        cv2.resizeWindow(TITLE, 1280, 480)
    except cv2.error:
        return False
    return True


def show(pair: np.ndarray, fps: float) -> bool:
    """Show a frame before and after; return False if the viewer quits."""
    shown = cv2.putText(
        pair.copy(), f"{fps:.0f} fps", (10, 30), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (255, 255, 255), 2
    )
    cv2.imshow(TITLE, shown)
    key = cv2.waitKey(1) & 0xFF
    if key == ord("s"):
        still = f"still-{time.strftime('%Y%m%d-%H%M%S')}.png"
        print(still if cv2.imwrite(still, pair) else f"{still} could not be written")
    closed = cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) < 1
    return key != ord("q") and not closed


def main() -> int:
    parser = argparse.ArgumentParser(description="Colour a camera live.")
    parser.add_argument("--camera", default="0", help="a number, or the path of a video")
    parser.add_argument("--record", type=Path, help="an .mp4 or .avi to write")
    parser.add_argument("--frames", type=int, help="stop after so many")
    parser.add_argument("--no-window", action="store_true")
    parser.add_argument("--model", default="lite")
    parser.add_argument("--saturation", type=float, default=1.0)
    options = parser.parse_args()
    window = not options.no_window and can_show()
    if not window and options.record is None:
        parser.error("no window can be shown (no display, or a headless OpenCV); use --record")

    colorizer = colorcv.Colorizer(options.model)
    camera = open_camera(options.camera)
    recorder = None
    greys, seen = tee(islice(read_grey(camera), options.frames))
    # keyframe_interval=1: the network runs on every frame, without delay.
    colored = colorizer.frames(seen, keyframe_interval=1, saturation=options.saturation)
    times: deque[float] = deque([time.perf_counter()], maxlen=30)
    count = 0
    for grey, after in zip(greys, colored, strict=True):
        pair = np.hstack([cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), after])
        count += 1
        if options.record and recorder is None:
            fps = camera.get(cv2.CAP_PROP_FPS)
            height, width = pair.shape[:2]
            recorder = open_recorder(options.record, fps if fps > 0 else 25, (width, height))
        if recorder:
            recorder.write(pair)
        times.append(time.perf_counter())
        if window and not show(pair, (len(times) - 1) / (times[-1] - times[0])):
            break
    camera.release()
    if recorder:
        recorder.release()
    print(f"{count} frames on {colorizer.device} ({colorizer.device_reason})")
    return 0 if count else 1


if __name__ == "__main__":
    sys.exit(main())
