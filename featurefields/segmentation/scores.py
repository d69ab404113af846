"""How much every Gaussian is like what was clicked.

Letters: n Gaussians · d feature dimension · q r prototypes.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.errors import PromptError
from featurefields.field import FeatureField
from featurefields.maths.cosine import CosineSpace


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
