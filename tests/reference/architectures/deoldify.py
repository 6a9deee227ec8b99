"""DeOldify (Antic, 2018): U-Nets over a ResNet, with spectral norm and self-attention."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import spectral_norm, weight_norm

__all__ = ["DeOldify"]


class _Residual(nn.Module):
    """A ResNet block: two 3x3 convolutions, or 1x1, 3x3, 1x1 with four times the outputs."""

    def __init__(self, inputs: int, width: int, stride: int, *, bottleneck: bool) -> None:
        super().__init__()
        outputs = width * (4 if bottleneck else 1)
        kernels = (1, 3, 1) if bottleneck else (3, 3)
        strided = kernels.index(3)
        layers: list[nn.Module] = []
        channels = inputs
        for index, kernel in enumerate(kernels):
            is_last = index == len(kernels) - 1
            wide = outputs if is_last else width
            step = stride if index == strided else 1
            layers += [
                nn.Conv2d(channels, wide, kernel, step, padding=kernel // 2, bias=False),
                nn.BatchNorm2d(wide),
            ]
            layers += [] if is_last else [nn.ReLU()]
            channels = wide
        self.layers = nn.Sequential(*layers)
        same = stride == 1 and inputs == outputs
        self.side = (
            nn.Identity()
            if same
            else nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.layers(x) + self.side(x))


class _ResNet(nn.Module):
    """The body of a ResNet; returns the outputs that the U-Net joins, and the last one."""

    def __init__(self, depths: tuple[int, ...], width: int, *, bottleneck: bool) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.stages = nn.ModuleList()
        self.channels = [width]
        channels = width
        for index, depth in enumerate(depths):
            wide = width * 2**index
            blocks = []
            for number in range(depth):
                stride = 2 if index and not number else 1
                blocks.append(_Residual(channels, wide, stride, bottleneck=bottleneck))
                channels = wide * (4 if bottleneck else 1)
            self.stages.append(nn.Sequential(*blocks))
            self.channels.append(channels)

    def forward(self, x: Tensor) -> list[Tensor]:
        found = [self.stem(x)]
        x = self.pool(found[0])
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return found


class _Attention(nn.Module):
    """Self-attention over all places, with 1-D convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        few = max(1, channels // 8)
        self.query, self.key, self.value = (
            spectral_norm(nn.Conv1d(channels, outputs, 1, bias=False))
            for outputs in (few, few, channels)
        )
        self.gamma = nn.Parameter(torch.tensor([0.5]))

    def forward(self, x: Tensor) -> Tensor:
        size = x.size()
        flat = x.view(*size[:2], -1)
        query, key, value = self.query(flat), self.key(flat), self.value(flat)
        shares = F.softmax(torch.bmm(query.permute(0, 2, 1).contiguous(), key), dim=1)
        out = self.gamma * torch.bmm(value, shares) + flat
        return out.view(*size).contiguous()


def _conv(inputs: int, outputs: int, kernel: int = 3, *, attention: bool = False) -> nn.Sequential:
    layers: list[nn.Module] = [
        spectral_norm(nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)),
        nn.ReLU(),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, *([_Attention(outputs)] if attention else []))


class _PixelShuffle(nn.Module):
    def __init__(self, conv: nn.Module) -> None:
        super().__init__()
        self.conv = conv
        self.shuffle = nn.PixelShuffle(2)
        self.pad = nn.ReplicationPad2d((1, 0, 1, 0))
        self.blur = nn.AvgPool2d(2, stride=1)

    def forward(self, x: Tensor) -> Tensor:
        blurred: Tensor = self.blur(self.pad(self.shuffle(F.relu(self.conv(x)))))
        return blurred


class _UnetBlock(nn.Module):
    def __init__(self, inputs: int, side: int, up: int, widths: list[int], attention: bool) -> None:
        super().__init__()
        shuffled = nn.Sequential(
            spectral_norm(nn.Conv2d(inputs, 4 * up, 1, bias=False)), nn.BatchNorm2d(4 * up)
        )
        self.up = _PixelShuffle(shuffled)
        self.norm = nn.BatchNorm2d(side)
        self.convs = nn.Sequential()
        channels = up + side
        for index, width in enumerate(widths):
            last = index == len(widths) - 1
            self.convs.append(_conv(channels, width, attention=attention and last))
            channels = width

    def forward(self, x: Tensor, side: Tensor) -> Tensor:
        x = self.up(x)
        if x.shape[-2:] != side.shape[-2:]:
            x = F.interpolate(x, side.shape[-2:], mode="nearest")
        out: Tensor = self.convs(F.relu(torch.cat([x, self.norm(side)], dim=1)))
        return out


class DeOldify(nn.Module):
    """Grey RGB 0..`scale`, (N, 3, H, W), to RGB 0..`scale` of the same size.

    Parameters
    ----------
    depths : tuple of int
        Blocks of the ResNet's stages: (3, 4, 6, 3) for artistic, (3, 4, 23, 3) for stable.
    stable : bool
        The wide decoder over bottleneck blocks (stable and video), else the deep one.
    width, wide : int
        Channels of the first stage, and of the wide decoder.
    scale : float
        255, or 1 in some exports.
    """

    def __init__(
        self,
        depths: tuple[int, ...] = (3, 4, 6, 3),
        *,
        stable: bool = False,
        width: int = 64,
        wide: int = 1024,
        scale: float = 255.0,
    ) -> None:
        super().__init__()
        self.scale = scale
        self.body = _ResNet(depths, width, bottleneck=stable)
        *sides, channels = self.body.channels
        self.middle = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            _conv(channels, 2 * channels),
            _conv(2 * channels, channels),
        )
        self.blocks = nn.ModuleList()
        for index, side in enumerate(reversed(sides)):
            final = index == len(sides) - 1
            if stable:
                outputs = (wide // 2 if final else wide) // 2
                up, widths = outputs, [outputs]
            else:
                up = channels // 2
                joined = up + side
                outputs = int((joined // 2 if final else joined) * 1.5)
                widths = [outputs, outputs]
            self.blocks.append(_UnetBlock(channels, side, up, widths, index == len(sides) - 3))
            channels = outputs
        self.enlarge = _PixelShuffle(weight_norm(nn.Conv2d(channels, 4 * channels, 1)))
        channels += 3
        self.cross = nn.Sequential(
            *(
                nn.Sequential(spectral_norm(nn.Conv2d(channels, channels, 3, padding=1)), nn.ReLU())
                for _ in range(2)
            )
        )
        self.last = spectral_norm(nn.Conv2d(channels, 3, 1))
        # Seeded weights would saturate the sigmoid; `export.build` sets this to what fits.
        self.gain = 1.0
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))

    def forward(self, rgb: Tensor) -> Tensor:
        image = (rgb / self.scale - self.mean) / self.std
        *sides, x = self.body(image)
        x = self.middle(x)
        for block, side in zip(self.blocks, reversed(sides), strict=True):
            x = block(x, side)
        x = torch.cat([self.enlarge(x), image], dim=1)
        x = self.last(x + self.cross(x)) * self.gain
        x = torch.sigmoid(x) * 6 - 3
        return torch.clamp(x * self.std + self.mean, 0, 1) * self.scale
