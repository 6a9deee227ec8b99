"""`Engine`: a graph loaded into `cv2.dnn` by a profile."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np

from .._logging import logger
from .._typing import AnyArray, Float32Array
from ..errors import DeviceError
from . import loading
from .cost import multiply_adds
from .graph import Graph, Shape
from .loading import OutOfMemoryError
from .profiles import Profile

__all__ = ["Engine"]


class Engine:
    """A network on a device. It keeps no copy of the weights.

    Parameters
    ----------
    read_graph : callable
        Returns the imported graph.
    device : str
    profile : Profile
        How the graph is rewritten and loaded.

    Attributes
    ----------
    input_hw : (int, int)
        Rows and columns of the first input.
    inputs : dict of tuple of int
        Shapes of the inputs by name.
    output_shape : tuple of int
    multiply_adds : int
        Of one run, before rewrites.

    Raises
    ------
    OutOfMemoryError
        There is not enough memory for this profile.
    DeviceError
        The device cannot run the network.
    """

    def __init__(self, read_graph: Callable[[], Graph], device: str, profile: Profile) -> None:
        self._read_graph = read_graph
        self._device = device
        self._profile = profile
        self._outputs: list[str] = []
        self.inputs: dict[str, Shape] = {}
        with loading.small_heap():
            self._load()
            if self._is_packed:
                self._allocate(self._rewritten())

    def _load(self) -> None:
        def make_graph() -> Graph:
            plain = self._read_graph()
            self.multiply_adds = multiply_adds(plain)
            graph = self._profile.rewrite(plain)
            self._is_packed = bool(graph.packed)
            self.input_hw = (graph.input_shape[2], graph.input_shape[3])
            self.inputs, self.output_shape = graph.inputs, graph.output_shape
            self._output, self._features = graph.output, graph.features
            return graph

        mode = self._profile.load_mode
        try:
            self._net = loading.load_net(make_graph, self._device, mode)
        except DeviceError as err:
            if mode == "buffer" or self._device != "cpu" or isinstance(err, OutOfMemoryError):
                raise
            # The disk is full, or OpenCV cannot open the path. Loading from a buffer gives the
            # same network and only takes more memory.
            logger.info("loading the network from memory", exc_info=True)
            self._net = loading.load_net(make_graph, self._device, "buffer")
        self._net.enableWinograd(self._profile.opencv_winograd)

    def _rewritten(self) -> Graph:
        return self._profile.rewrite(self._read_graph())

    def _allocate(self, graph: Graph) -> None:
        """Let OpenCV allocate the network for the outputs in use, then pack its large factors."""
        self.run({name: np.zeros(shape, np.float32) for name, shape in self.inputs.items()})
        loading.pack(self._net, graph.packed)

    @property
    def has_features(self) -> bool:
        """Whether the network ends in a head, so that it has features to read."""
        return self._features is not None

    def request_features(self) -> None:
        """Let `run` return the features too, from now on."""
        if self._outputs:
            return
        assert self._features is not None
        # OpenCV 4 allocates the network again when other outputs are requested, so from now on both
        # are requested every time.
        graph = self._rewritten() if self._is_packed else None
        self._outputs = [self._output, self._features]
        if graph is not None:
            with loading.small_heap():
                self._allocate(graph)

    def run(self, inputs: Mapping[str, Float32Array]) -> tuple[AnyArray, AnyArray | None]:
        """Run the network.

        Parameters
        ----------
        inputs : mapping of float32 arrays
            With the names and shapes of `inputs`.

        Returns
        -------
        output : array of `output_shape`
        features : (1, C, h, w) float32, or None unless they have been requested
        """
        try:
            if len(inputs) == 1:
                (values,) = inputs.values()
                self._net.setInput(values)
            else:
                for name, values in inputs.items():
                    self._net.setInput(values, name)
            # With two outputs, OpenCV 4 returns the last one it read, so they are named.
            if not self._outputs:
                return self._net.forward(self._output), None
            output, features = self._net.forward(self._outputs)
        except (cv2.error, MemoryError) as err:
            if loading.is_out_of_memory(err):
                raise OutOfMemoryError(loading.NO_MEMORY) from err
            raise DeviceError(
                f"OpenCV {cv2.__version__} failed to run the network on {self._device!r}: {err}"
            ) from err
        return output, features
