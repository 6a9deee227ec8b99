"""eccv16 (Zhang et al. 2016) and siggraph17 (Zhang et al. 2017) as the PyTorch release has them."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

__all__ = ["Eccv16", "Siggraph17"]


def _block(
    channels: list[int],
    *,
    stride: int = 1,
    dilation: int = 1,
    norm: bool = True,
    relu: bool = False,
) -> nn.Sequential:
    """Return 3x3 convolutions, each with a ReLU; the stride is the last one's."""
    layers: list[nn.Module] = [nn.ReLU()] if relu else []
    steps = list(pairwise(channels))
    for index, (inputs, outputs) in enumerate(steps):
        step = stride if index == len(steps) - 1 else 1
        conv = nn.Conv2d(inputs, outputs, 3, step, padding=dilation, dilation=dilation)
        layers += [conv, nn.ReLU()]
    if norm:
        layers.append(nn.BatchNorm2d(channels[-1]))
    return nn.Sequential(*layers)


class Eccv16(nn.Module):
    """L* in 0..100, (N, 1, H, W), to ab of the same size.

    Parameters
    ----------
    width : int
        Channels of the first block; 64 in the release.
    bins : int
        Colours whose mean is the result; 313 in the release.
    """

    def __init__(self, width: int = 64, bins: int = 313) -> None:
        super().__init__()
        w = width
        self.encoder = nn.Sequential(
            _block([1, w, w], stride=2),
            _block([w, 2 * w, 2 * w], stride=2),
            _block([2 * w, 4 * w, 4 * w, 4 * w], stride=2),
            _block([4 * w, 8 * w, 8 * w, 8 * w]),
            _block([8 * w] * 4, dilation=2),
            _block([8 * w] * 4, dilation=2),
            _block([8 * w] * 4),
        )
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(8 * w, 4 * w, 4, 2, 1),
            nn.ReLU(),
            _block([4 * w, 4 * w, 4 * w], norm=False),
            nn.Conv2d(4 * w, bins, 1),
        )
        self.mean = nn.Conv2d(bins, 2, 1, bias=False)
        self.enlarge = nn.Upsample(scale_factor=4, mode="bilinear")

    def forward(self, lightness: Tensor) -> Tensor:
        features = self.decoder(self.encoder((lightness - 50) / 100))
        mean: Tensor = self.enlarge(self.mean(features.softmax(dim=1)))
        return mean * 110


class Siggraph17(nn.Module):
    """L* in 0..100, ab of the hints and their 0/1 map to ab of the same size."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        w = width
        self.block1 = _block([4, w, w])
        self.block2 = _block([w, 2 * w, 2 * w])
        self.block3 = _block([2 * w, 4 * w, 4 * w, 4 * w])
        self.middle = nn.Sequential(
            _block([4 * w, 8 * w, 8 * w, 8 * w]),
            _block([8 * w] * 4, dilation=2),
            _block([8 * w] * 4, dilation=2),
            _block([8 * w] * 4),
        )
        self.up8 = nn.ConvTranspose2d(8 * w, 4 * w, 4, 2, 1)
        self.side8 = nn.Conv2d(4 * w, 4 * w, 3, 1, 1)
        self.block8 = _block([4 * w, 4 * w, 4 * w], relu=True)
        self.up9 = nn.ConvTranspose2d(4 * w, 2 * w, 4, 2, 1)
        self.side9 = nn.Conv2d(2 * w, 2 * w, 3, 1, 1)
        self.block9 = _block([2 * w, 2 * w], relu=True)
        self.up10 = nn.ConvTranspose2d(2 * w, 2 * w, 4, 2, 1)
        self.side10 = nn.Conv2d(w, 2 * w, 3, 1, 1)
        self.block10 = nn.Sequential(nn.ReLU(), nn.Conv2d(2 * w, 2 * w, 3, 1, 1), nn.LeakyReLU(0.2))
        self.last = nn.Conv2d(2 * w, 2, 1)

    def forward(self, lightness: Tensor, ab: Tensor, mask: Tensor) -> Tensor:
        one = self.block1(torch.cat(((lightness - 50) / 100, ab / 110, mask), dim=1))
        two = self.block2(one[:, :, ::2, ::2])
        three = self.block3(two[:, :, ::2, ::2])
        seven = self.middle(three[:, :, ::2, ::2])
        eight = self.block8(self.up8(seven) + self.side8(three))
        nine = self.block9(self.up9(eight) + self.side9(two))
        ten = self.block10(self.up10(nine) + self.side10(one))
        return torch.tanh(self.last(ten)) * 110
