"""`SteeringMethods`: the methods of `Colorizer` that ask a person, or help one to decide."""

from __future__ import annotations

from typing import Any

from .._typing import Order
from ..image.source import SourceImage
from .editing import Steerable, SteeredImage, suggest, variants
from .session import EditSession
from .suggestions import Suggestion

__all__ = ["SteeringMethods"]


class SteeringMethods:
    """The methods of `Colorizer` that ask a person, or help one to decide."""

    def suggest(
        self: Steerable, image: Any, x: float, y: float, n: int = 5, *, order: Order = "bgr"
    ) -> list[Suggestion]:
        """Return the most plausible distinct colours of a place, most probable first.

        Parameters
        ----------
        image
            Anything that `colorize` accepts.
        x, y : float
            Column and row, in pixels of the upright image.
        n : int, 1 or more
            Colours at most.
        order : {"bgr", "rgb"}

        Returns
        -------
        list of Suggestion
            ``color`` is "#rrggbb" at the place's own lightness; ``probability`` is the network's,
            of this colour and of those near to it.

        Raises
        ------
        ImageError
            Not a usable image, or the place is outside of it.
        OptionError
            `n` is not a whole number of 1 or more.

        Examples
        --------
        >>> import numpy as np
        >>> from colorcv import Colorizer
        >>> colors = Colorizer("lite", device="cpu").suggest(np.full((40, 60), 128, np.uint8), 5, 9)
        >>> len(colors)
        5
        """
        source = SourceImage(image, order=order)
        seen = SteeredImage(self, source.lightness_at(self.input_hw))
        return suggest(self, seen, source.shape_hw, x, y, n)

    def variants(
        self: Steerable, image: Any, n: int = 4, *, order: Order = "bgr", saturation: float = 1.0
    ) -> list[Any]:
        """Return whole colourings of an image that differ in the colours of its large regions.

        Parameters
        ----------
        image
            Anything that `colorize` accepts.
        n : int, 1 or more
            Colourings at most; fewer where the network sees no other plausible colours.
        order, saturation
            As for `colorize`.

        Returns
        -------
        list
            What `colorize` returns, and then others: in each, large regions take other probable
            colours.
        """
        return variants(self, SourceImage(image, order=order), n, saturation)

    def session(self: Steerable, image: Any, *, order: Order = "bgr") -> EditSession:
        """Return an `EditSession` of an image: for editors, where hints come and go."""
        return EditSession(self, image, order=order)
