"""Colour a photo: ``python quickstart.py PHOTO [RESULT]``.

With the bundled small model nothing is downloaded; use the default model for quality.
"""

import argparse
import sys

import cv2

import colorcv

parser = argparse.ArgumentParser(description="Colour a black-and-white photo.")
parser.add_argument("photo")
parser.add_argument("result", nargs="?", default="colored.jpg", help="default: %(default)s")
options = parser.parse_args()

try:
    colored = colorcv.colorize(options.photo, model="lite")  # a BGR array; a photo may be one too
except colorcv.ColorcvError as err:
    sys.exit(f"error: {err}")
if not (cv2.haveImageWriter(options.result) and cv2.imwrite(options.result, colored)):
    sys.exit(f"error: cannot write {options.result}; use a name such as colored.jpg")
print(f"{options.photo} -> {options.result} ({colored.shape[1]} x {colored.shape[0]})")
