"""DDColor (Kang et al., ICCV 2023): a ConvNeXt encoder, a pixel decoder and colour queries."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

__all__ = ["LARGE", "SMALL", "TINY", "DDColor", "Sizes"]


class Sizes(NamedTuple):
    """Numbers of blocks, channels, queries and layers."""

    depths: tuple[int, ...]
    dims: tuple[int, ...]
    decoder: int = 512
    hidden: int = 256
    heads: int = 8
    feedforward: int = 2048
    queries: int = 100
    layers: int = 9


TINY = Sizes((3, 3, 9, 3), (96, 192, 384, 768))
LARGE = Sizes((3, 3, 27, 3), (192, 384, 768, 1536))
SMALL = Sizes((1, 1, 2, 1), (8, 8, 12, 16), 16, 8, 2, 16, 6, 3)


class _ChannelNorm(nn.Module):
    """LayerNorm over the channels of (N, C, H, W), written out as ConvNeXt's release has it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(1, keepdim=True)
        x = centred / torch.sqrt(centred.pow(2).mean(1, keepdim=True) + 1e-6)
        return self.weight[:, None, None] * x + self.bias[:, None, None]


class _Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.widen = nn.Linear(channels, 4 * channels)
        self.narrow = nn.Linear(4 * channels, channels)
        self.gamma = nn.Parameter(torch.full((channels,), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.gamma * self.narrow(F.gelu(self.widen(y)))
        return x + y.permute(0, 3, 1, 2)


class _Encoder(nn.Module):
    """ConvNeXt; returns the normalised output of each of its four stages."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        dims = sizes.dims
        stem = nn.Sequential(nn.Conv2d(3, dims[0], 4, 4), _ChannelNorm(dims[0]))
        halve = [
            nn.Sequential(_ChannelNorm(dims[i]), nn.Conv2d(dims[i], dims[i + 1], 2, 2))
            for i in range(3)
        ]
        self.down = nn.ModuleList([stem, *halve])
        self.stages = nn.ModuleList(
            nn.Sequential(*(_Block(dim) for _ in range(depth)))
            for dim, depth in zip(dims, sizes.depths, strict=True)
        )
        self.norms = nn.ModuleList(_ChannelNorm(dim) for dim in dims)

    def forward(self, x: Tensor) -> list[Tensor]:
        features = []
        for down, stage, norm in zip(self.down, self.stages, self.norms, strict=True):
            x = stage(down(x))
            features.append(norm(x))
        return features


class _PixelShuffle(nn.Module):
    """A 1x1 convolution, pixel shuffle and a blur of 2x2 over a repeated edge."""

    def __init__(self, inputs: int, outputs: int, scale: int, *, norm: bool) -> None:
        super().__init__()
        conv = spectral_norm(nn.Conv2d(inputs, outputs * scale**2, 1, bias=not norm))
        self.conv = nn.Sequential(conv, *([nn.BatchNorm2d(outputs * scale**2)] if norm else []))
        self.shuffle = nn.PixelShuffle(scale)
        self.pad = nn.ReplicationPad2d((1, 0, 1, 0))
        self.blur = nn.AvgPool2d(2, stride=1)

    def forward(self, x: Tensor) -> Tensor:
        blurred: Tensor = self.blur(self.pad(self.shuffle(F.relu(self.conv(x)))))
        return blurred


class _UnetBlock(nn.Module):
    def __init__(self, inputs: int, side: int, outputs: int) -> None:
        super().__init__()
        self.up = _PixelShuffle(inputs, outputs, 2, norm=True)
        self.norm = nn.BatchNorm2d(side)
        self.conv = nn.Sequential(
            spectral_norm(nn.Conv2d(outputs + side, outputs, 3, padding=1, bias=False)),
            nn.ReLU(),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor, side: Tensor) -> Tensor:
        joined = F.relu(torch.cat([self.up(x), self.norm(side)], dim=1))
        out: Tensor = self.conv(joined)
        return out


class _QueryLayer(nn.Module):
    """Cross-attention to an image, attention among the queries, and two linear layers."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.cross = nn.MultiheadAttention(sizes.hidden, sizes.heads)
        self.own = nn.MultiheadAttention(sizes.hidden, sizes.heads)
        self.linear1 = nn.Linear(sizes.hidden, sizes.feedforward)
        self.linear2 = nn.Linear(sizes.feedforward, sizes.hidden)
        self.norms = nn.ModuleList(nn.LayerNorm(sizes.hidden) for _ in range(3))

    def forward(self, x: Tensor, where: Tensor, image: Tensor, position: Tensor) -> Tensor:
        x = self.norms[0](x + self.cross(x + where, image + position, value=image)[0])
        x = self.norms[1](x + self.own(x + where, x + where, value=x)[0])
        return self.norms[2](x + self.linear2(F.relu(self.linear1(x))))


def _positions(x: Tensor, channels: int) -> Tensor:
    """Return the sine embedding of rows and columns, (N, 2 * channels, H, W)."""
    inside = ~torch.zeros((x.size(0), x.size(2), x.size(3)), dtype=torch.bool)
    rows, columns = (inside.cumsum(axis, dtype=torch.float32) for axis in (1, 2))
    rows = rows / (rows[:, -1:, :] + 1e-6) * (2 * math.pi)
    columns = columns / (columns[:, :, -1:] + 1e-6) * (2 * math.pi)
    steps = torch.arange(channels, dtype=torch.float32)
    steps = 10000 ** (2 * torch.div(steps, 2, rounding_mode="floor") / channels)
    waves = []
    for axis in (rows, columns):
        angle = axis[:, :, :, None] / steps
        pair = (angle[..., 0::2].sin(), angle[..., 1::2].cos())
        waves.append(torch.stack(pair, dim=4).flatten(3))
    return torch.cat(waves, dim=3).permute(0, 3, 1, 2)


class _Queries(nn.Module):
    """The colour decoder: queries that attend to the pixel decoder's three scales."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        channels = (sizes.decoder, sizes.decoder, sizes.decoder // 2)
        self.query = nn.Embedding(sizes.queries, sizes.hidden)
        self.where = nn.Embedding(sizes.queries, sizes.hidden)
        self.level = nn.Embedding(3, sizes.hidden)
        self.project = nn.ModuleList(nn.Conv2d(number, sizes.hidden, 1) for number in channels)
        self.layers = nn.ModuleList(_QueryLayer(sizes) for _ in range(sizes.layers))
        self.norm = nn.LayerNorm(sizes.hidden)
        widths = [sizes.hidden, sizes.hidden, sizes.hidden, sizes.decoder // 2]
        self.mlp = nn.ModuleList(nn.Linear(widths[i], widths[i + 1]) for i in range(3))

    def forward(self, scales: list[Tensor], image: Tensor) -> Tensor:
        seen, positions = [], []
        for index, scale in enumerate(scales):
            positions.append(_positions(scale, self.sizes.hidden // 2).flatten(2).permute(2, 0, 1))
            flat = self.project[index](scale).flatten(2) + self.level.weight[index][None, :, None]
            seen.append(flat.permute(2, 0, 1))
        batch = seen[0].shape[1]
        where = self.where.weight.unsqueeze(1).repeat(1, batch, 1)
        x = self.query.weight.unsqueeze(1).repeat(1, batch, 1)
        for index, layer in enumerate(self.layers):
            x = layer(x, where, seen[index % 3], positions[index % 3])
        x = self.norm(x).transpose(0, 1)
        for index, linear in enumerate(self.mlp):
            x = linear(x) if index == 2 else F.relu(linear(x))
        return torch.einsum("bqc,bchw->bqhw", x, image)


class DDColor(nn.Module):
    """RGB 0..1 of Lab(L, 0, 0), (N, 3, H, W), to ab of the same size."""

    def __init__(self, sizes: Sizes = TINY) -> None:
        super().__init__()
        self.encoder = _Encoder(sizes)
        dims, wide = sizes.dims, sizes.decoder
        self.blocks = nn.ModuleList(
            [
                _UnetBlock(dims[3], dims[2], wide),
                _UnetBlock(wide, dims[1], wide),
                _UnetBlock(wide, dims[0], wide // 2),
            ]
        )
        self.enlarge = _PixelShuffle(wide // 2, wide // 2, 4, norm=False)
        self.queries = _Queries(sizes)
        self.last = spectral_norm(nn.Conv2d(sizes.queries + 3, 2, 1))
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))
        # Seeded weights give ab near 0; `export.build` sets this to what fills the range.
        self.gain = 1.0

    def forward(self, rgb: Tensor) -> Tensor:
        x = (rgb - self.mean) / self.std
        *sides, out = self.encoder(x)
        scales = []
        for block, side in zip(self.blocks, reversed(sides), strict=True):
            out = block(out, side)
            scales.append(out)
        colors = self.queries(scales, self.enlarge(out))
        last: Tensor = self.last(torch.cat([colors, x], dim=1))
        return last * self.gain
