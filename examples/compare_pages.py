"""Make one web page with a draggable before/after slider for each photo of a folder.

    python compare_pages.py PHOTOS [page.html] [--model lite] [--side 1200] [--force]

The page is a single file: images, style and script are inside it. It needs no server and fetches
nothing, so it can be mailed, archived, or opened from a memory stick. An existing file is kept
unless --force is given.
"""

from __future__ import annotations

import argparse
import base64
import html
import sys
from pathlib import Path

import cv2

import colorcv

SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"}

PAGE = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 1100px; padding: 1rem;
  background: light-dark(#f6f5f2, #1b1b1d); color: light-dark(#222, #ddd); }}
h1 {{ font-weight: 600; font-size: 1.4rem; }}
figure {{ margin: 0 0 2.5rem; }}
figcaption {{ padding: .4rem 0; overflow-wrap: anywhere; }}
.pair {{ --at: 50%; position: relative; width: fit-content; max-width: 100%;
  overflow-y: clip; }}
.pair img {{ display: block; width: auto; height: auto; max-width: 100%; max-height: 85vh; }}
.pair .before {{ position: absolute; inset: 0; width: 100%; height: 100%;
  clip-path: inset(0 calc(100% - var(--at)) 0 0); }}
.pair::after {{ content: "\\2194"; position: absolute; top: 50%; left: var(--at);
  translate: -50% -50%; width: 2.2rem; height: 2.2rem; line-height: 2.1rem; text-align: center;
  border-radius: 50%; background: #fffd; color: #222; pointer-events: none; }}
.pair::before {{ content: ""; position: absolute; z-index: 1; top: 0; bottom: 0; left: var(--at);
  width: 2px; translate: -1px; background: #fffd; pointer-events: none; }}
.pair input {{ position: absolute; top: 0; left: -1rem; width: calc(100% + 2rem); height: 100%;
  margin: 0; opacity: 0; appearance: none; cursor: ew-resize; touch-action: pan-y; }}
.pair input::-webkit-slider-thumb {{ appearance: none; width: 2rem; height: 100vh; }}
.pair input::-moz-range-thumb {{ width: 2rem; height: 100vh; }}
.pair:has(:focus-visible) {{ outline: 3px solid #4a90d9; outline-offset: 2px; }}
</style>
<h1>{title}</h1>
<p>Drag across a photo, or use the arrow keys: black and white on the left, in colour on the
right. The colours are a network's guess (colorcv, model {model}), not a record.</p>
{figures}
<script>
for (const slider of document.querySelectorAll(".pair input")) {{
  const move = () => slider.parentElement.style.setProperty("--at", slider.value + "%");
  slider.addEventListener("input", move);
  slider.addEventListener("keydown", (event) => {{
    const step = {{ ArrowLeft: -2, ArrowDown: -2, ArrowRight: 2, ArrowUp: 2 }}[event.key];
    if (!step) return;
    event.preventDefault();
    slider.value = Number(slider.value) + step;
    move();
  }});
}}
</script>
</html>
"""
FIGURE = """<figure>
<div class="pair">
<img src="{after}" width="{width}" height="{height}" alt="{name} in colour">
<img class="before" src="{before}" alt="{name} in black and white">
<input type="range" min="0" max="100" value="50" step="0.1" aria-label="Before and after: {name}">
</div>
<figcaption>{name}</figcaption>
</figure>
"""


def data_url(image, size_wh: tuple[int, int]) -> str:
    """Return the image as a JPEG in a data URL, for a page in one file."""
    small = cv2.resize(image[..., :3], size_wh, interpolation=cv2.INTER_AREA)
    levels = 257 if small.dtype == "uint16" else 1  # 65535 / 255
    small = cv2.convertScaleAbs(small, alpha=1 / levels)
    encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 88])[1]
    return "data:image/jpeg;base64," + base64.b64encode(encoded).decode("ascii")


def figure(path: Path, colorizer: colorcv.Colorizer, side: int) -> str:
    """Return the HTML of one photo, at most `side` pixels long."""
    after = colorizer.colorize(path)
    before = colorizer.colorize(path, saturation=0)  # upright, and grey even if it was sepia
    height, width = after.shape[:2]
    scale = min(1, side / max(height, width))
    size_wh = max(1, round(width * scale)), max(1, round(height * scale))
    return FIGURE.format(
        before=data_url(before, size_wh),
        after=data_url(after, size_wh),
        width=size_wh[0],
        height=size_wh[1],
        name=html.escape(path.stem.replace("_", " ")),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Before/after sliders for a folder of photos.")
    parser.add_argument("photos", type=Path)
    parser.add_argument("page", type=Path, nargs="?", default=Path("page.html"))
    parser.add_argument("--model", default="lite")
    parser.add_argument("--side", type=int, default=1200, help="longest side on the page, pixels")
    parser.add_argument("--force", action="store_true", help="overwrite an existing page")
    options = parser.parse_args()
    if options.page.exists() and not options.force:
        parser.error(f"{options.page} already exists; use --force to overwrite it")
    if not options.photos.is_dir():
        parser.error(f"{options.photos} is not a folder")

    colorizer = colorcv.Colorizer(options.model)
    figures, failed = [], 0
    for path in sorted(options.photos.iterdir()):
        if path.suffix.lower() not in SUFFIXES or ".color" in path.suffixes:
            continue  # *.color.jpg is a result of `colorcv image`
        try:
            figures.append(figure(path, colorizer, options.side))
        except colorcv.ImageError as err:
            failed += 1
            print(f"{path.name}: {err}", file=sys.stderr)
    if not figures:
        parser.error(f"{options.photos} has no photos that can be read")
    title = f"{html.escape(options.photos.resolve().name)}, before and after"
    page = PAGE.format(title=title, figures="".join(figures), model=html.escape(options.model))
    options.page.write_text(page, encoding="utf-8")
    print(f"{options.page}: {len(figures)} photos, {len(page) / 1e6:.1f} MB")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
