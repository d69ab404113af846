"""Features in few dimensions: an orthonormal basis with an exactly linear way back.

Letters: D extracted dimension · d stored dimension · `...` any batch.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.errors import FittingError
from featurefields.vision.interface import FeatureMap


@dataclass(frozen=True)
class FeatureBasis:
    """extracted = mean + stored @ basis, up to what the basis leaves out.

    Attributes:
        mean: mean of the extracted features.
        basis: orthonormal rows, the direction of largest variance first.
        explained: share of the variance along each row; None when not known.
    """

    mean: Float[Tensor, "D"]
    basis: Float[Tensor, "d D"]
    explained: Float[Tensor, "d"] | None = None

    @property
    def dim(self) -> int:
        """Stored dimension d."""
        return self.basis.shape[0]

    def encode(self, features: Float[Tensor, "... D"]) -> Float[Tensor, "... d"]:
        """Stored coordinates of extracted features."""
        return (features - self.mean.to(features)) @ self.basis.T.to(features)

    def decode(self, stored: Float[Tensor, "... d"]) -> Float[Tensor, "... D"]:
        """Extracted features of stored coordinates; encode(decode(x)) = x."""
        return self.mean.to(stored) + stored @ self.basis.to(stored)

    def encode_map(self, extracted: FeatureMap) -> FeatureMap:
        """The same map in stored coordinates (computed in single precision)."""
        stored = self.encode(extracted.features.float().movedim(0, -1)).movedim(-1, 0)
        return FeatureMap(stored.half().contiguous(), extracted.size)


def fit_basis(
    maps: Mapping[str, FeatureMap],
    dim: int,
    *,
    samples: int = 65536,
    generator: torch.Generator | None = None,
) -> FeatureBasis:
    """Principal components of a random sample of all patches of all maps.

    The same maps, sample size and generator state give the same basis: moments are summed in double
    precision and the largest entry of every row is positive. Maps are read one at a time.

    Args:
        maps: feature maps by view name, all of one dimension D.
        dim: stored dimension; at most D are kept.
        samples: patches looked at, over all maps together (all of them when there are fewer).
        generator: draws the sample (CPU); None seeds one with 0.

    Raises:
        FittingError: there are no maps, their dimensions differ, or `dim` is not positive.
    """
    if not maps or dim < 1:
        raise FittingError(
            f"cannot fit a feature basis: {len(maps)} maps, {dim} dimensions; both must be positive"
        )
    generator = generator or torch.Generator().manual_seed(0)
    counts = [_patches(maps[name]).shape[0] for name in maps]
    drawn = torch.randperm(sum(counts), generator=generator)[:samples].sort().values
    bounds = torch.tensor([0, *counts]).cumsum(0)
    first = torch.searchsorted(drawn, bounds).tolist()
    pieces = []
    for position, (name, start) in enumerate(zip(maps, bounds.tolist(), strict=False)):
        rows = drawn[first[position] : first[position + 1]] - start
        pieces.append(_patches(maps[name])[rows])
        if pieces[-1].shape[1] != pieces[0].shape[1]:
            raise FittingError(
                f"cannot fit a feature basis: view '{name}' has {pieces[-1].shape[1]} dimensions, "
                f"the first view {pieces[0].shape[1]}; extract all of them with one extractor"
            )
    return _principal(pieces, dim)


def _principal(pieces: list[Tensor], dim: int) -> FeatureBasis:
    """The first `dim` principal components of the rows of all pieces."""
    count = sum(len(piece) for piece in pieces)
    mean = torch.stack([piece.double().sum(0) for piece in pieces]).sum(0) / count
    covariance = torch.zeros(len(mean), len(mean), dtype=torch.float64)
    for piece in pieces:
        centred = piece.double() - mean
        covariance += centred.T @ centred / count
    variance, directions = torch.linalg.eigh(covariance)
    variance, basis = variance.flip(0).clamp(min=0)[:dim], directions.T.flip(0)[:dim]
    total = covariance.trace()
    largest = basis.gather(1, basis.abs().argmax(1, keepdim=True))
    basis = basis * torch.where(largest < 0, -1.0, 1.0)
    explained = variance / total if total > 0 else torch.zeros_like(variance)
    return FeatureBasis(mean.float(), basis.float(), explained.float())


def _patches(features: FeatureMap) -> Float[Tensor, "p D"]:
    return features.features.flatten(1).T.cpu()
