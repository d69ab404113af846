"""Words to the Gaussians that they mean.

Letters: n Gaussians.

How much a phrase means a Gaussian is told by relevancy (`featurefields.maths.relevancy`). The Gaussians that are meant
most become prototypes like those under a mask, so that words and pixels work together.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.errors import PromptError
from featurefields.field import FeatureField
from featurefields.maths.relevancy import CANONICAL, TextQuery
from featurefields.segmentation.evidence import Evidence
from featurefields.segmentation.prompts import Text, TextTower
from featurefields.segmentation.scores import stored_features

NEUTRAL = 0.5
"""The relevancy of what a phrase means as little as it means anything."""

BEST = 1e-3
"""The Gaussians with the largest relevancy that make up this share of all footprints say how large it gets."""


def relevancy(field: FeatureField, phrase: str, tower: TextTower) -> Float[Tensor, "n"]:
    """How much a phrase means every Gaussian, 0..1, from its view-independent features.

    Raises:
        PromptError: the field has no features, or not those of the tower.
    """
    features, about = stored_features(field), field.about
    if tower.fingerprint != about.extractor or about.feature_mean is None or about.feature_basis is None:
        raise PromptError(
            f"the words '{phrase}' cannot be compared: the field's features are of "
            f"{about.extractor or 'an unknown extractor'} and the words of {tower.fingerprint}; lift the features of "
            "the extractor that understands the words"
        )
    query = TextQuery.of(
        tower.embed_text([phrase, *CANONICAL]).to(features),
        about.feature_mean.to(features),
        about.feature_basis.to(features),
    )
    return query.relevancy(features)


@torch.no_grad()
def text_evidence(prompt: Text, field: FeatureField, tower: TextTower | None) -> Evidence:
    """What words say: the Gaussians that they mean more than half as much as the best.

    Raises:
        PromptError: there is no tower, it is another extractor's, or the words mean nothing here.
    """
    prompt.check()
    if tower is None:
        raise PromptError(
            f"the text {prompt} cannot be understood: {field.about.extractor or 'the extractor of these features'} has "
            "no text tower; click instead, or lift features of an extractor with words (embed_text)"
        )
    found, footprints = relevancy(field, prompt.phrase, tower), field.splats.footprints
    order = found.argsort(descending=True, stable=True)
    reached = footprints[order].double().cumsum(0) >= BEST * footprints.double().sum()
    best = float(found[order[int(reached.to(torch.int8).argmax())]])
    if best <= NEUTRAL:
        raise PromptError(
            f"nothing in this scene is meant by {prompt}: the best relevancy is {best:.2f} and {NEUTRAL} is chance; "
            "try other words, or click"
        )
    rows = (found >= (NEUTRAL + best) / 2).nonzero().squeeze(-1)
    share = footprints[rows] / footprints[rows].sum()
    every = torch.ones_like(rows, dtype=torch.bool)
    return Evidence(None, prompt.positive, rows, share, seeds=every, sure=~every)
