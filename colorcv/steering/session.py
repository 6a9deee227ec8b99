"""`EditSession`: one image with editable hints, undo and redo."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .._typing import AnyArray, Float32Array
from ..errors import OptionError
from ..image.source import SourceImage
from ..image.validation import check_saturation, check_strength
from .editing import (
    Reference,
    Steerable,
    SteeredImage,
    is_by_model,
    prepare_reference,
    resize_pixels,
    suggest,
)
from .hints import Hint, Observed, merge, observe
from .suggestions import Suggestion

__all__ = ["EditSession"]


@dataclass(frozen=True)
class _State:
    """Hints, reference and strength: all that a session's result depends on."""

    # Key, hint (None for a stroke layer), and its cells at the network's input size.
    entries: tuple[tuple[int, Hint | None, Observed], ...] = ()
    reference: Reference | None = None
    strength: float = 1.0


class EditSession:
    """An image being edited: add and remove hints, undo, redo, and render at any size.

    Returned by `Colorizer.session`. It keeps the network's features of the image (20 MB for lite,
    53 MB for zhang2016), so that a change does not run the network, unless the network takes the
    hints itself. It may be shared by threads.

    Examples
    --------
    >>> import numpy as np
    >>> from colorcv import Colorizer, Hint
    >>> session = Colorizer("lite", device="cpu").session(np.full((60, 80), 128, np.uint8))
    >>> key = session.add(Hint(40, 30, "seagreen", radius=5))
    >>> session.render(max_side=40).shape
    (30, 40, 3)
    >>> session.undo(), len(session.hints)
    (True, 0)
    """

    def __init__(
        self, colorizer: Steerable, image: Any, *, order: str = "bgr", steering: str = "auto"
    ) -> None:
        self._colorizer = colorizer
        self._by_model = is_by_model(colorizer, steering)
        self._image = SourceImage(image, order=order)
        self._seen = SteeredImage(colorizer, self._image.lightness_at(colorizer.input_hw))
        self._lock = threading.RLock()
        self._state = _State()
        self._undone: list[_State] = []
        self._done: list[_State] = []
        self._next_key = 1
        self._chroma: tuple[_State, Float32Array] | None = None
        self._preview: tuple[int, SourceImage] | None = None

    @property
    def shape_hw(self) -> tuple[int, int]:
        """Rows and columns of the upright image, in whose pixels hints are given."""
        return self._image.shape_hw

    @property
    def hints(self) -> dict[int, Hint | None]:
        """The current hints by key, in the order they were added; None for a stroke layer."""
        return {key: hint for key, hint, _ in self._state.entries}

    def add(self, hint: Hint | AnyArray | str | os.PathLike[str]) -> int:
        """Add a hint or a stroke layer and return its key.

        Parameters
        ----------
        hint : Hint, (H, W, 4) array, or path
            As for `colorcv.colorize`; a stroke layer may have the size of a preview.

        Returns
        -------
        int
            The key, for `remove`.

        Raises
        ------
        ImageError
            The hint is outside the image, or the stroke layer has another shape.
        OptionError
            `hint` is neither a Hint nor a stroke layer.
        """
        observed = self._observe([hint] if isinstance(hint, Hint) else hint)
        with self._lock:
            key = self._next_key
            self._next_key += 1
            entry = key, hint if isinstance(hint, Hint) else None, observed
            self._change(entries=(*self._state.entries, entry))
            return key

    def remove(self, key: int) -> None:
        """Remove the hint whose key `add` returned; raise OptionError if there is none."""
        with self._lock:
            kept = tuple(entry for entry in self._state.entries if entry[0] != key)
            if len(kept) == len(self._state.entries):
                keys = ", ".join(map(str, self.hints)) or "none"
                raise OptionError(f"no hint has the key {key!r} (keys: {keys})")
            self._change(entries=kept)

    def clear(self) -> None:
        """Remove all hints; `undo` restores them."""
        with self._lock:
            if self._state.entries:
                self._change(entries=())

    def set_reference(self, reference: Any, *, strength: float = 1.0) -> None:
        """Set the reference and its strength, as for `colorcv.colorize`; None removes it.

        Raises
        ------
        ImageError
            An image is not usable, or has no colour.
        OptionError
            `strength` is not a number in 0..1.
        """
        check_strength(strength)
        prepared = prepare_reference(self._colorizer, reference, self._image.order)
        with self._lock:
            self._change(reference=prepared, strength=strength)

    def undo(self) -> bool:
        """Undo the last change; return False if there is none."""
        with self._lock:
            return self._step(self._done, self._undone)

    def redo(self) -> bool:
        """Redo the change that was last undone; return False if there is none."""
        with self._lock:
            return self._step(self._undone, self._done)

    def suggest(self, x: float, y: float, n: int = 5) -> list[Suggestion]:
        """Return plausible colours of one pixel, as `Colorizer.suggest` does."""
        return suggest(self._colorizer, self._seen, self.shape_hw, x, y, n)

    def render(self, *, max_side: int | None = None, saturation: float = 1.0) -> Any:
        """Colour the image with the current hints and reference.

        Parameters
        ----------
        max_side : int, optional
            Longer side of the result in pixels, for a preview: a larger image is reduced first.
            The reduced image of the last size is kept.
        saturation : float, 0..10
            Factor on all chroma, including that of the hints.

        Returns
        -------
        array or PIL.Image.Image
            As `colorcv.colorize` returns it; with `max_side` always an array.

        Raises
        ------
        OptionError
            `max_side` is not a whole number of 1 or more, or `saturation` is outside its range.
        """
        check_saturation(saturation)
        with self._lock:
            state = self._state
            if self._chroma is None or self._chroma[0] is not state:
                self._chroma = state, self._steer(state)
            chroma = self._chroma[1]
            image = self._image if max_side is None else self._reduced(max_side)
        colored = image.colored(chroma, saturation=saturation)
        return colored if max_side is not None else image.to_result(colored)

    def _observe(self, hints: Any) -> Observed:
        grid_hw = self._colorizer.input_hw
        return observe(hints, self.shape_hw, grid_hw, self._image.order)

    def _steer(self, state: _State) -> Float32Array:
        observed = merge([observed for _, _, observed in state.entries])
        return self._seen.chroma(observed, state.reference, state.strength, by_model=self._by_model)

    def _change(self, **changes: Any) -> None:
        self._done.append(self._state)
        self._undone.clear()
        self._state = replace(self._state, **changes)

    def _step(self, source: list[_State], target: list[_State]) -> bool:
        if not source:
            return False
        target.append(self._state)
        self._state = source.pop()
        return True

    def _reduced(self, max_side: int) -> SourceImage:
        is_count = isinstance(max_side, (int, np.integer)) and not isinstance(max_side, bool)
        if not is_count or max_side < 1:
            raise OptionError(f"max_side must be a whole number of 1 or more, got {max_side!r}")
        height, width = self.shape_hw
        if max_side >= max(height, width):
            return SourceImage(self._image.pixels, order=self._image.order)
        if self._preview is None or self._preview[0] != max_side:
            scale = max_side / max(height, width)
            size_hw = max(1, round(height * scale)), max(1, round(width * scale))
            pixels = resize_pixels(self._image.pixels, size_hw)
            self._preview = max_side, SourceImage(pixels, order=self._image.order)
        return self._preview[1]
