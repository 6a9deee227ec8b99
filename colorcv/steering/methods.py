"""`SteeringMethods`: `Colorizer.suggest`, `variants` and `session`.

What they need is imported at the first call: most programs steer nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._typing import Order, SteeringMethod
from ..image.source import SourceImage

if TYPE_CHECKING:
    from .editing import Steerable
    from .session import EditSession
    from .suggestions import Suggestion

__all__ = ["SteeringMethods"]


class SteeringMethods:
    """The methods `suggest`, `variants` and `session` of `Colorizer`."""

    def suggest(
        self: Steerable, image: Any, x: float, y: float, n: int = 5, *, order: Order = "bgr"
    ) -> list[Suggestion]:
        """Return the most plausible distinct colours of one pixel, most probable first.

        Parameters
        ----------
        image
            Anything that `colorize` accepts.
        x, y : float
            Column and row, in pixels of the upright image.
        n : int, 1 or more
            Maximum number of colours.
        order : {"bgr", "rgb"}
            Order of the colour channels of an array.

        Returns
        -------
        list of Suggestion
            ``color`` is "#rrggbb" at the pixel's own lightness; ``probability`` is the network's
            probability of this colour and similar ones, in 0..1.

        Raises
        ------
        ImageError
            The image is not usable, or the pixel is outside it.
        OptionError
            `n` is not a whole number of 1 or more, or `order` is unknown.
        ModelFormatError
            The model does not end in the probabilities of 313 colours.

        Examples
        --------
        >>> import numpy as np
        >>> from colorcv import Colorizer
        >>> colors = Colorizer("lite", device="cpu").suggest(np.full((40, 60), 128, np.uint8), 5, 9)
        >>> len(colors)
        5
        """
        from .editing import SteeredImage, suggest

        source = SourceImage(image, order=order)
        seen = SteeredImage(self, source.lightness_at(self.input_hw))
        return suggest(self, seen, source.shape_hw, x, y, n)

    def variants(
        self: Steerable, image: Any, n: int = 4, *, order: Order = "bgr", saturation: float = 1.0
    ) -> list[Any]:
        """Return several colourings of an image that differ in the colours of its large regions.

        Parameters
        ----------
        image
            Anything that `colorize` accepts.
        n : int, 1 or more
            Maximum number of colourings; fewer if no other colours are probable.
        order, saturation
            As for `colorize`.

        Returns
        -------
        list of array or PIL.Image.Image
            First the result of `colorize` with ``ignore_border=False``, then colourings in which
            large regions take other probable colours.

        Raises
        ------
        ImageError
            The image is not usable.
        OptionError
            `n`, `order` or `saturation` is invalid.
        ModelFormatError
            The model does not end in the probabilities of 313 colours.
        """
        from .editing import variants

        return variants(self, SourceImage(image, order=order), n, saturation)

    def session(
        self: Steerable, image: Any, *, order: Order = "bgr", steering: SteeringMethod = "auto"
    ) -> EditSession:
        """Return an `EditSession` for an image, in which hints can be added and removed.

        Parameters
        ----------
        image
            Anything that `colorize` accepts.
        order : {"bgr", "rgb"}
            Order of the colour channels of an array, of hints given as numbers, and of results.
        steering : {"auto", "model", "regression"}
            As for `colorcv.colorize`.

        Raises
        ------
        ImageError
            The image is not usable.
        OptionError
            `order` or `steering` is unknown, or the model takes no hints.
        """
        from .session import EditSession

        return EditSession(self, image, order=order, steering=steering)
