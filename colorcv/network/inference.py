"""A loaded network: lightness in, ab out, on the chosen device."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from .._logging import logger
from .._typing import Float32Array
from ..errors import DeviceError, ImageError, ModelFormatError
from . import device as devices
from . import loading, profiles
from .graph import Graph
from .rewrites.head import find_head

__all__ = ["Head", "Network"]

# Largest difference in ab between the outputs of a device and the CPU at which "auto" uses the
# device. Rounding changes the annealed mean by hundredths, a wrong kernel by tens.
AUTO_TOLERANCE = 1.0
_NO_HEAD = (
    "hints, references and suggestions need a network that ends in shares of 313 colours and their "
    "mean; this one does not, use another model"
)
MAX_AB = 1000.0  # far beyond any colour: the centres are within 128


class Head(NamedTuple):
    """Weights of the network's last layers, from features to ab.

    ``softmax(scale * (kernel @ features + bias))`` is the probability of each of the 313 bins, and
    ab is the mean of `centers` weighted by it.
    """

    kernel: Float32Array  # (313, C)
    bias: Float32Array  # (313,)
    scale: Float32Array  # (313,) or (1,): 1/T
    centers: Float32Array  # (313, 2): a and b


class Network:
    """A network on a device. Threads that share it need a lock.

    Parameters
    ----------
    read_graph : callable
        Returns the imported graph; called each time the network is loaded on a device.
    device : str
        "auto" or a device.
    low_memory : bool

    Attributes
    ----------
    input_hw, output_hw : (int, int)
        Rows and columns of the lightness that goes in and of the ab that comes out.
    device : {"cpu", "cuda", "cuda-fp16", "opencl", "opencl-fp16"}
        The device in use.
    device_reason : str
        Why it is in use.
    """

    def __init__(self, read_graph: Callable[[], Graph], device: str, low_memory: bool) -> None:
        self._read_graph = read_graph
        self._low_memory = low_memory
        self._auto = device == "auto"
        self._outputs: list[str] = []
        self.device, self.device_reason = device, "requested"
        if self._auto:
            self._select_device()
        else:
            self._net = self._load(device)
            if device != "cpu":
                self._forward(self._test_pattern())

    def predict_ab(self, lightness: npt.ArrayLike) -> Float32Array:
        """Predict colour from lightness.

        Parameters
        ----------
        lightness : (H, W) or (N, H, W) float32, L* in 0..100
            With (H, W) equal to `input_hw`.

        Returns
        -------
        (h, w, 2) or (N, h, w, 2) float32
            a and b, with (h, w) equal to `output_hw`.

        Raises
        ------
        ImageError
            The lightness has another shape or dtype, or values outside 0..100.
        DeviceError
            OpenCV failed. If "auto" chose the device and it is not the CPU, the network continues
            on the CPU instead, and `device` and `device_reason` say so.
        """
        planes = self._check_lightness(lightness)
        ab = np.empty((len(planes), *self.output_hw, 2), np.float32)
        for plane, out in zip(planes, ab, strict=True):
            out[:] = self._predict_plane(plane)[0]
        return ab if np.ndim(lightness) == 3 else ab[0]

    def predict_features(self, lightness: npt.ArrayLike) -> tuple[Float32Array, Float32Array]:
        """Predict colour, and return the features that the head computes it from.

        Parameters
        ----------
        lightness : (H, W) float32, L* in 0..100
            With (H, W) equal to `input_hw`.

        Returns
        -------
        ab : (h, w, 2) float32
            As `predict_ab` returns it.
        features : (h, w, C) float32
            Input of the layer with the 313 bins, with (h, w) equal to `output_hw` for the models
            of this package.

        Raises
        ------
        ModelFormatError
            The network does not end in 313 bins and their mean.
        ImageError, DeviceError
            As for `predict_ab`.
        """
        if np.ndim(lightness) != 2:
            raise ImageError(
                f"lightness must have shape {self.input_hw}, got {np.shape(lightness)}"
            )
        if self._features is None:
            raise ModelFormatError(_NO_HEAD)
        # OpenCV 4 allocates the network again when other outputs are requested, so from now on both
        # are requested every time.
        self._outputs = [self._output, self._features]
        ab, features = self._predict_plane(self._check_lightness(lightness)[0])
        assert features is not None
        return ab, features

    @cached_property
    def head(self) -> Head:
        """Weights of the last layers, read from the model's files on first access.

        Raises
        ------
        ModelFormatError
            The network does not end in 313 bins and their mean.
        """
        graph = self._read_graph()
        chain = find_head(graph)
        if chain is None:
            raise ModelFormatError(_NO_HEAD)
        first, scale, _, last = chain
        kernel, bias, factor, centers = (
            np.array(graph.constants[name].array(), np.float32)
            for name in (*first.inputs[1:3], scale.inputs[1], last.inputs[1])
        )
        return Head(
            kernel.reshape(len(bias), -1), bias, factor.reshape(-1), centers.reshape(2, -1).T
        )

    def _predict_plane(self, plane: Float32Array) -> tuple[Float32Array, Float32Array | None]:
        try:
            return self._forward(plane)
        except DeviceError as err:
            if not self._auto or self.device == "cpu":
                raise
            self._fall_back_to_cpu(f"{self.device} failed during use: {err}")
        return self._forward(plane)

    def _forward(self, plane: Float32Array) -> tuple[Float32Array, Float32Array | None]:
        """Return ab and, once `predict_features` has been called, the features."""
        try:
            self._net.setInput((plane - np.float32(50))[None, None])
            # With two outputs, OpenCV 4 returns the last one it read, so they are named.
            if self._outputs:
                output, *more = self._net.forward(self._outputs)
            else:
                output, more = self._net.forward(self._output), []
        except cv2.error as err:
            raise DeviceError(
                f"OpenCV {cv2.__version__} failed to run the network on {self.device!r}: {err}"
            ) from err
        expected = (1, 2, *self.output_hw)
        if output.shape != expected:
            raise DeviceError(
                f"expected output of shape {expected} on {self.device!r}, got {output.shape}"
            )
        # NaN fails the comparison too; OpenCV 5 may write the largest float in place of NaN.
        if not (np.abs(output) <= MAX_AB).all():
            if self.device != "cpu":
                raise DeviceError(f"the network's output on {self.device!r} is not a colour")
            raise ModelFormatError(
                f"the network's output is not a colour (ab up to {np.abs(output).max():g}); its "
                "weights are damaged or far too large"
            )
        ab: Float32Array = output[0].transpose(1, 2, 0)
        if not more:
            return ab, None
        features: Float32Array = np.ascontiguousarray(more[0][0].transpose(1, 2, 0))
        if not np.isfinite(features).all():
            raise DeviceError(f"the network's features on {self.device!r} are not finite")
        return ab, features

    def _select_device(self) -> None:
        """Use CUDA if it is available and its output agrees with the CPU's, else the CPU."""
        cuda = next(info for info in devices.devices() if info.name == "cuda")
        if not cuda.available:
            self._fall_back_to_cpu(f"CUDA is not available: {cuda.reason}")
            return
        try:
            self.device = "cuda"
            self._net = self._load("cuda")
            cuda_ab = self._forward(self._test_pattern())[0].copy()
        except DeviceError as err:
            self._fall_back_to_cpu(f"CUDA failed: {err}")
            return
        cuda_net = self._net
        self._fall_back_to_cpu("CUDA is available but disagrees with the CPU")
        difference = float(np.abs(self._forward(self._test_pattern())[0] - cuda_ab).max())
        if difference <= AUTO_TOLERANCE:
            self._net, self.device = cuda_net, "cuda"
            self.device_reason = (
                f"CUDA is available and agrees with the CPU within {difference:.3f} in ab"
            )
        else:
            self.device_reason += f" (by up to {difference:.1f} in ab)"
            logger.warning("running on the CPU: %s", self.device_reason)

    def _fall_back_to_cpu(self, reason: str) -> None:
        self.device, self.device_reason = "cpu", reason
        self._net = self._load("cpu")

    def _load(self, device: str) -> cv2.dnn.Net:
        profile = profiles.select_profile(device, low_memory=self._low_memory)

        def make_graph() -> Graph:
            graph = self._read_graph()
            self.input_hw = (graph.input_shape[2], graph.input_shape[3])
            self.output_hw = (graph.output_shape[2], graph.output_shape[3])
            self._output, self._features = graph.output, graph.features
            return profile.rewrite(graph)

        try:
            net = loading.load_net(make_graph, device, profile.load_mode)
        except DeviceError:
            if profile.load_mode == "buffer" or device != "cpu":
                raise
            # The disk is full, or OpenCV cannot open the path. Loading from a buffer gives the
            # same network and only takes more memory.
            logger.info("loading the network from memory", exc_info=True)
            net = loading.load_net(make_graph, device, "buffer")
        net.enableWinograd(profile.opencv_winograd)
        return net

    def _test_pattern(self) -> Float32Array:
        """Return a fixed lightness with flat areas, edges and texture."""
        rows, columns = np.mgrid[: self.input_hw[0], : self.input_hw[1]].astype(np.float32)
        waves = 50 + 30 * np.sin(rows / 9) * np.cos(columns / 13) + 15 * np.sign(np.sin(rows / 31))
        return np.asarray(waves, np.float32)

    def _check_lightness(self, lightness: npt.ArrayLike) -> Float32Array:
        """Return the lightness as (N, H, W) float32."""
        array = np.asarray(lightness)
        if array.dtype.kind not in "fiu":
            raise ImageError(f"lightness must be float32, got {array.dtype}")
        if array.ndim not in (2, 3) or array.shape[-2:] != self.input_hw:
            height, width = self.input_hw
            raise ImageError(
                f"lightness must have shape ({height}, {width}) or (N, {height}, {width}), got "
                f"{array.shape}"
            )
        planes = np.asarray(array, np.float32).reshape(-1, *self.input_hw)
        # Rounding is tolerated up to 1; NaN fails the comparison too.
        if planes.size and not (planes.min() >= -1 and planes.max() <= 101):
            raise ImageError(
                f"lightness must be between 0 and 100, got {planes.min():g} to {planes.max():g}"
            )
        return planes
