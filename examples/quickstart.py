"""Colour a photo: ``python quickstart.py [PHOTO] [RESULT]``.

With the bundled small model nothing is downloaded; take the default model for quality.
"""

import sys
from pathlib import Path

import cv2

import colorcv

photo = sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "photos/tetons_1942.jpg"
result = sys.argv[2] if len(sys.argv) > 2 else "colored.jpg"

colored = colorcv.colorize(photo, model="lite")  # an array, BGR; photo may be an array too
if not cv2.imwrite(result, colored):
    sys.exit(f"{result} could not be written")
print(f"{photo} -> {result} ({colored.shape[1]} x {colored.shape[0]})")
