"""How much every Gaussian is like what was clicked.

Letters: n Gaussians · d stored and D extracted feature dimension · q prototypes.

Extracted features are mean + stored @ basis with orthonormal rows; cosines are taken between whole extracted
features, computed from the stored ones alone.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.errors import PromptError
from featurefields.field import About, FeatureField


@dataclass(frozen=True)
class CosineSpace:
    """Inner products of extracted features from stored ones.

    Attributes:
        pull: basis @ mean (d): what the mean adds to the product with a stored feature.
        level: <mean, mean>.
    """

    pull: Float[Tensor, "d"]
    level: float

    @staticmethod
    def of(about: About, dim: int, *, centred: bool = False) -> "CosineSpace":
        """The space of a field's features; without a stored mean, or `centred`, of the stored features themselves."""
        if centred or about.feature_mean is None or about.feature_basis is None:
            return CosineSpace(torch.zeros(dim), 0.0)
        mean, basis = about.feature_mean.float(), about.feature_basis.float()
        return CosineSpace(basis @ mean, float(mean @ mean))

    def cosine(self, a: Float[Tensor, "n d"], b: Float[Tensor, "q d"]) -> Float[Tensor, "n q"]:
        """Cosines between every row of a and every row of b."""
        pull = self.pull.to(a)
        dot = a @ b.T + (a @ pull)[:, None] + (b @ pull)[None] + self.level
        norms = [(x.square().sum(-1) + 2 * (x @ pull) + self.level).clamp(min=1e-12).sqrt() for x in (a, b)]
        return dot / (norms[0][:, None] * norms[1][None])


def stored_features(field: FeatureField, head: str = "feature") -> Float[Tensor, "n d"]:
    """The view-independent features of every Gaussian.

    Raises:
        PromptError: the field has none.
    """
    if head not in field.heads or head not in field.splats.columns:
        raise PromptError(
            f"the field has no features (heads: {', '.join(field.heads) or 'none'}); fit it with `ff fit` and "
            "features, then click"
        )
    return field.splats.columns[head]


def similarity(
    features: Float[Tensor, "n d"],
    positive: Float[Tensor, "q d"],
    negative: Float[Tensor, "r d"],
    space: CosineSpace,
) -> Float[Tensor, "n"]:
    """Best cosine with a positive prototype, less 1 where a negative prototype is nearer; -2..1."""
    best = space.cosine(features, positive).amax(-1)
    if len(negative):
        worst = space.cosine(features, negative).amax(-1)
        best = torch.where(worst > best, best - 1.0, best)
    return best
