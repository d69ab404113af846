"""The class token beside every patch."""

import pytest
import torch
from test_vision_transformers import KINDS, tiny

from featurefields.vision.class_token import ClassTokenExtractor, with_class_token
from featurefields.vision.classical import ClassicalExtractor
from featurefields.vision.transformers_backbone import TransformersBackbone


@pytest.mark.parametrize("kind", KINDS)
def test_every_patch_carries_the_class_token(kind: str, generator: torch.Generator) -> None:
    backbone = TransformersBackbone(tiny(kind))
    images = torch.rand(2, 3, 12, 16, generator=generator)
    beside = with_class_token(backbone)
    if kind == "siglip":
        assert beside is None and backbone.tokens_and_class(images)[1] is None
        return
    assert isinstance(beside, ClassTokenExtractor)
    assert beside.dim == 2 * backbone.dim and beside.fingerprint != backbone.fingerprint
    plain, both = backbone(images), beside(images)
    assert torch.equal(both[:, : backbone.dim], plain)
    token = both[:, backbone.dim :]
    assert torch.equal(token, token[:, :, :1, :1].expand_as(token)), "one token for the whole image"
    hidden = backbone.model(
        pixel_values=(images - torch.tensor(backbone.mean)[:, None, None])
        / torch.tensor(backbone.std)[:, None, None],
        **backbone._options,
    ).last_hidden_state
    assert torch.allclose(token[:, :, 0, 0], hidden[:, 0], atol=1e-6)
    assert not torch.equal(token[0], token[1]), "another image has another one"


def test_others_have_none() -> None:
    assert with_class_token(ClassicalExtractor()) is None
