"""Write a short grey video, to try the commands on: ``python sample_video.py [OUTPUT.mp4]``.

It pans over a sample photo for three seconds.
"""

import sys
from pathlib import Path

import cv2

WIDTH, HEIGHT, FRAMES, FPS = 640, 360, 72, 24

output = sys.argv[1] if len(sys.argv) > 1 else "film.mp4"
photo = cv2.imread(str(Path(__file__).parent / "photos" / "tetons_1942.jpg"), cv2.IMREAD_GRAYSCALE)
photo = cv2.resize(photo, (2 * WIDTH, 2 * WIDTH * photo.shape[0] // photo.shape[1]))
writer = cv2.VideoWriter(output, cv2.VideoWriter_fourcc(*"mp4v"), FPS, (WIDTH, HEIGHT))
if not writer.isOpened():
    sys.exit(f"cannot write {output}")
for number in range(FRAMES):
    left = (photo.shape[1] - WIDTH) * number // (FRAMES - 1)
    top = (photo.shape[0] - HEIGHT) * number // (FRAMES - 1)
    frame = photo[top : top + HEIGHT, left : left + WIDTH]
    writer.write(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
writer.release()
print(f"{output}: {FRAMES} frames of {WIDTH} x {HEIGHT}")
