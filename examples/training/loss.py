"""The loss: Zhang, Isola and Efros (ECCV 2016), with two more terms on the annealed mean.

1. Cross-entropy against the true colour soft-encoded on its 5 nearest centres (sigma 5), each
   cell weighted by the rarity of its colour (class rebalancing, their section 2.2).
2. Huber on the annealed mean minus the true ab: nearness.
3. L1 on the spatial gradient of the same difference: patches are gradients where the truth has
   none.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

NEAREST, SIGMA = 5, 5.0
LIMIT = 110  # ab is looked up on the integers of -LIMIT..LIMIT
UNIFORM_SHARE, MAX_WEIGHT = 0.7, 5.0  # of the rebalancing
HUBER_BETA = 5.0


class SoftEncoding:
    """A table of the 5 nearest centres, with Gaussian weights, of every integer ab.

    The distances of all cells to 313 centres take longer to compute than the network, so a table
    makes a step on the CPU much faster.
    """

    def __init__(self, centers: np.ndarray) -> None:
        axis = np.arange(-LIMIT, LIMIT + 1, dtype=np.float32)
        grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
        square = ((grid[:, None] - centers[None]) ** 2).sum(axis=2)
        nearest = np.argpartition(square, NEAREST, axis=1)[:, :NEAREST]
        near = np.take_along_axis(square, nearest, axis=1)
        weights = np.exp(-(near - near.min(axis=1, keepdims=True)) / (2 * SIGMA**2))
        self.bins = torch.from_numpy(nearest.astype(np.int64))
        self.weights = torch.from_numpy(weights / weights.sum(axis=1, keepdims=True)).float()

    def to(self, device: torch.device) -> SoftEncoding:
        """Move the table."""
        self.bins, self.weights = self.bins.to(device), self.weights.to(device)
        return self

    def __call__(self, ab: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode (P, 2) ab as bins and weights, (P, 5) each."""
        index = ab.round().clamp(-LIMIT, LIMIT).long() + LIMIT
        row = index[:, 0] * (2 * LIMIT + 1) + index[:, 1]
        return self.bins[row], self.weights[row]


def rebalancing(counts: np.ndarray) -> np.ndarray:
    """Return weights of the 313 bins from their frequencies: mean 1 over the photos, at most 5.

    Zhang et al. equation 4, with the frequencies mixed with 0.7 of a uniform distribution.
    """
    share = counts / counts.sum()
    weights = 1 / ((1 - UNIFORM_SHARE) * share + UNIFORM_SHARE / len(share))
    weights = np.minimum(weights / (share * weights).sum(), MAX_WEIGHT)
    return (weights / (share * weights).sum()).astype(np.float32)


def annealed_mean(logits: torch.Tensor, centers: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return (N, h, w, 2) ab: the mean of the centres under softmax of (N, Q, h, w) logits / T."""
    # A softmax over planes reads memory in strides and is several times slower than over rows of
    # bins, so the bins become the last axis.
    rows = logits.permute(0, 2, 3, 1)
    return functional.softmax(rows.float() / temperature, dim=-1) @ centers


def loss(
    logits: torch.Tensor,
    true_ab: torch.Tensor,
    *,
    encoding: SoftEncoding,
    weights: torch.Tensor,
    centers: torch.Tensor,
    temperature: float,
) -> tuple[torch.Tensor, dict[str, float]]:
    """Return the loss of (N, 313, h, w) logits against (N, h, w, 2) ab, and its three terms."""
    rows = logits.permute(0, 2, 3, 1).reshape(-1, logits.shape[1]).float()
    bins, soft = encoding(true_ab.reshape(-1, 2))
    log_shares = functional.log_softmax(rows, dim=1)
    entropy = -(log_shares.gather(1, bins) * soft).sum(dim=1)
    entropy = (entropy * (weights[bins] * soft).sum(dim=1)).mean()
    off = annealed_mean(logits, centers, temperature) - true_ab
    near = functional.smooth_l1_loss(off, torch.zeros_like(off), beta=HUBER_BETA) / 10
    steps = (off[:, 1:] - off[:, :-1]).abs().mean() + (off[:, :, 1:] - off[:, :, :-1]).abs().mean()
    smooth = steps / 2 / 4
    parts = {"entropy": entropy.item(), "huber": near.item(), "gradient": smooth.item()}
    return entropy + 0.5 * near + 0.5 * smooth, parts
