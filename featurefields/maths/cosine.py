"""Cosines of extracted features, computed from the stored ones alone.

Letters: n rows of a · q rows of b · d stored and D extracted feature dimension · e = d + 1 · `...` any batch.

Extracted features are mean + stored @ basis with orthonormal rows. What the mean has outside the rows is the same
in all of them, so (stored + basis @ mean, length of that) has the same inner products in d + 1 dimensions.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize


@dataclass(frozen=True)
class CosineSpace:
    """Inner products of extracted features.

    Attributes:
        shift: basis @ mean, the part of the mean that stored features reach.
        rest: length of the part of the mean that they do not reach.
    """

    shift: Float[Tensor, "d"]
    rest: float

    @staticmethod
    def plain(dim: int) -> "CosineSpace":
        """The space of stored features themselves."""
        return CosineSpace(torch.zeros(dim), 0.0)

    @staticmethod
    def of(mean: Float[Tensor, "D"], basis: Float[Tensor, "d D"]) -> "CosineSpace":
        """The space of features mean + stored @ basis."""
        mean, basis = mean.double(), basis.double()
        shift = basis @ mean
        return CosineSpace(shift.float(), float((mean - shift @ basis).norm()))

    def embed(self, stored: Float[Tensor, "... d"]) -> Float[Tensor, "... e"]:
        """Vectors with the lengths and inner products of the extracted features."""
        moved = stored + self.shift.to(stored)
        return torch.cat([moved, torch.full_like(moved[..., :1], self.rest)], dim=-1)

    def units(self, stored: Float[Tensor, "... d"]) -> Float[Tensor, "... e"]:
        """The same with unit length, so that inner products are cosines; features of length 0 stay 0."""
        return normalize(self.embed(stored), dim=-1, eps=1e-6)

    def cosine(self, a: Float[Tensor, "n d"], b: Float[Tensor, "q d"]) -> Float[Tensor, "n q"]:
        """Cosines between every row of a and every row of b."""
        return self.units(a) @ self.units(b).T
