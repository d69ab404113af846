"""How much words mean features, beside words that mean nothing in particular.

Letters: n values (pixels or Gaussians) · d stored and D extracted feature dimension · t phrases.

Relevancy (Kerr et al. 2023, LERF): with s the cosine of a feature with the query and s_c that with a phrase that means
nothing in particular, the least over these phrases of the softmax of (10 s, 10 s_c).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from featurefields.maths.cosine import CosineSpace

CANONICAL = ("object", "things", "stuff", "texture")
"""Phrases that mean nothing in particular."""
SHARPNESS = 10.0


@dataclass(frozen=True)
class TextQuery:
    """Cosines with a query and with what means nothing, of features that are stored as mean + stored @ basis.

    Attributes:
        constant: inner products of the mean with the texts' unit vectors; the query is the first of them.
        linear: the same of the basis' rows.
        space: lengths of stored features.
    """

    constant: Float[Tensor, "t"]
    linear: Float[Tensor, "d t"]
    space: CosineSpace

    @staticmethod
    def of(texts: Float[Tensor, "t D"], mean: Float[Tensor, "D"], basis: Float[Tensor, "d D"]) -> "TextQuery":
        """The first row of `texts` is the query, the others mean nothing in particular."""
        units = normalize(texts.double(), dim=-1).to(mean)
        return TextQuery(units @ mean, basis @ units.T, CosineSpace.of(mean, basis))

    def relevancy(self, stored: Float[Tensor, "n d"]) -> Float[Tensor, "n"]:
        """0..1; features of length 0 have one half."""
        length = self.space.embed(stored).norm(dim=-1, keepdim=True).clamp(min=1e-6)
        cosines = (self.constant.to(stored) + stored @ self.linear.to(stored)) / length
        return torch.sigmoid(SHARPNESS * (cosines[:, :1] - cosines[:, 1:])).amin(-1)
