"""How much every Gaussian is like what was clicked.

Letters: n Gaussians · d feature dimension · q r prototypes.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.errors import PromptError
from featurefields.field import FeatureField
from featurefields.heads.directional import DirectionalHead
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


def average_features(field: FeatureField) -> Float[Tensor, "n d"]:
    """What every Gaussian's features are on average over all directions: of its matter, and of what it reflects.

    That tells things apart that differ in what they are made of, and is steadier than matter alone, whose pictures are
    the field's own. Where features were lifted from photos alone they are the stored ones.

    Raises:
        PromptError: the field has no features.
    """
    features, head = stored_features(field), field.heads["feature"]
    if isinstance(head, DirectionalHead) and head.constant:
        return features + field.splats.columns[f"{head.name}_dep"][:, 0]
    return features


def similarity(
    features: Float[Tensor, "n d"],
    positive: Float[Tensor, "q d"],
    negative: Float[Tensor, "r d"],
    space: CosineSpace,
) -> Float[Tensor, "n"]:
    """Best cosine with a positive prototype, less 1 where a negative prototype is nearer; -2..1."""
    best = _largest(space.cosine(features, positive))
    if len(negative):
        worst = _largest(space.cosine(features, negative))
        best = torch.where(worst > best, best - 1.0, best)
    return best


def _largest(values: Float[Tensor, "n q"]) -> Float[Tensor, "n"]:
    """The largest of every row; a reduction over a single column takes as long as one over many."""
    return values[:, 0] if values.shape[1] == 1 else values.amax(-1)
