"""The loss: Zhang, Isola and Efros (ECCV 2016), with three more terms on the guessed ab.

The guess is the annealed mean times the saturation that the model will be used with.

1. Cross-entropy against the true colour soft-encoded on its 5 nearest centres (sigma 5), each
   cell weighted by the rarity of its colour (class rebalancing, their section 2.2).
2. The distance of the guess to the true ab, over the photo's mean chroma: nearness. It makes a
   model cautious.
3. L1 on the spatial gradient of guess minus truth: patches are gradients where the truth has none.
4. The colourfulness of the guesses over that of the originals, squared distance from a target: the
   model is vivid where that costs least nearness, and not everywhere by one factor.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

NEAREST, SIGMA = 5, 5.0
LIMIT = 110  # ab is looked up on the integers of -LIMIT..LIMIT
UNIFORM_SHARE, MAX_WEIGHT = 0.7, 5.0  # of the rebalancing
LEAST_CHROMA = 8.0  # mean chroma below which a photo counts as this: the error of grey ones is kept
ENTROPY, NEAR, GRADIENT, VIVID = 0.3, 1.0, 0.35, 4.0  # weights of the terms


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


def colorfulness(ab: torch.Tensor) -> torch.Tensor:
    """Return (N,) of (N, h, w, 2) ab: Hasler and Suesstrunk 2003, the measure in CIELAB.

    The spread of ab plus 0.37 times the distance of its mean from grey.
    """
    spread = ab.flatten(1, 2).var(dim=1).sum(dim=1).add(1e-6).sqrt()
    return spread + 0.37 * torch.linalg.vector_norm(ab.mean(dim=(1, 2)) + 1e-6, dim=1)


def loss(
    logits: torch.Tensor,
    true_ab: torch.Tensor,
    *,
    encoding: SoftEncoding,
    weights: torch.Tensor,
    centers: torch.Tensor,
    temperature: float,
    saturation: float | torch.Tensor,
    target: float,
) -> tuple[torch.Tensor, dict[str, float]]:
    """Return the loss of (N, 313, h, w) logits against (N, h, w, 2) ab, and its terms.

    `target` is the wanted colourfulness of the guesses over that of the originals.
    """
    rows = logits.permute(0, 2, 3, 1).reshape(-1, logits.shape[1]).float()
    bins, soft = encoding(true_ab.reshape(-1, 2))
    log_shares = functional.log_softmax(rows, dim=1)
    entropy = -(log_shares.gather(1, bins) * soft).sum(dim=1)
    entropy = (entropy * (weights[bins] * soft).sum(dim=1)).mean()
    guess = annealed_mean(logits, centers, temperature) * saturation
    off = guess - true_ab
    chroma = torch.linalg.vector_norm(true_ab, dim=-1).mean(dim=(1, 2)).clamp(min=LEAST_CHROMA)
    near = (off.square().sum(dim=-1) + 1).sqrt().mean(dim=(1, 2)).div(chroma).mean()
    steps = (off[:, 1:] - off[:, :-1]).abs().mean() + (off[:, :, 1:] - off[:, :, :-1]).abs().mean()
    vivid = colorfulness(guess).sum() / colorfulness(true_ab).sum()
    total = ENTROPY * entropy + NEAR * near + GRADIENT * steps / 2
    parts = {"entropy": entropy, "near": near, "gradient": steps / 2, "colourfulness": vivid}
    return total + VIVID * (vivid - target) ** 2, {k: v.item() for k, v in parts.items()}
