"""`FormLoader`: loads a network in the memory form that fits."""

from __future__ import annotations

import math
from collections.abc import Callable

from .._logging import logger
from .._typing import Memory, MemoryForm
from . import profiles
from .engine import Engine
from .graph import Graph
from .loading import OutOfMemoryError
from .memory import available_memory

__all__ = ["FormLoader"]


class FormLoader:
    """Loads a network; if memory runs out on the CPU, in the next smaller form that fits.

    Parameters
    ----------
    read_graph : callable
        Returns the imported graph; called each time the network is loaded.
    memory : {"auto", "fast", "balanced", "low"}
        "auto" chooses by the memory that is available.

    Attributes
    ----------
    form : {"fast", "balanced", "low"}
        The form in use.
    reason : str
        Why, if it was chosen here, else "".
    """

    form: MemoryForm

    def __init__(self, read_graph: Callable[[], Graph], memory: Memory) -> None:
        self._read_graph = read_graph
        self._pending: Graph | None = None
        self.reason = ""
        if memory == "auto":
            graph = self._pending = read_graph()
            weights = sum(math.prod(found.shape) for _, found in graph.used_constants())
            self.form, self.reason = profiles.choose_form(4 * weights, available_memory())
        else:
            self.form = memory

    def load(self, device: str) -> Engine:
        """Load the network on a device.

        Raises
        ------
        OutOfMemoryError
            There is not enough memory for the smallest form.
        DeviceError
            The device cannot run the network.
        """
        while True:
            try:
                profile = profiles.select_profile(device, self.form)
                return Engine(self._next_graph, device, profile)
            except OutOfMemoryError:
                if device != "cpu" or not self.shrink():
                    raise

    def _next_graph(self) -> Graph:
        """Return the graph that the memory form was chosen for, the first time; else read it."""
        graph, self._pending = self._pending, None
        return graph or self._read_graph()

    def shrink(self) -> bool:
        """Choose the next smaller memory form; return False if there is none."""
        if self.form == "low":
            return False
        larger = self.form
        self.form = "balanced" if larger == "fast" else "low"
        self.reason = f"memory form {self.form}, because memory ran out with {larger}"
        logger.warning("there is not enough memory for the network's form %s", self.reason)
        return True
