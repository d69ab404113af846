"""Cosines from stored features against cosines of the features that they stand for."""

import pytest
import torch
from laws import seeded
from torch import Tensor
from torch.nn.functional import cosine_similarity

from featurefields.field import About
from featurefields.maths.cosine import CosineSpace


def compressed(d: int = 5, D: int = 12) -> tuple[Tensor, Tensor]:
    """A mean (D) and orthonormal rows (d D)."""
    generator = seeded(1)
    basis = torch.linalg.qr(torch.randn(D, d, generator=generator)).Q.T.contiguous()
    return torch.randn(D, generator=generator), basis


def stored(count: int, d: int = 5) -> Tensor:
    return torch.randn(count, d, generator=seeded(count))


@pytest.mark.parametrize("d", [1, 5, 12])
def test_embedding_is_an_isometry_of_the_extracted_features(d: int):
    mean, basis = compressed(d)
    a, b = stored(30, d), stored(4, d)
    space = CosineSpace.of(mean, basis)
    whole = [mean + features @ basis for features in (a, b)]
    assert space.embed(a).shape == (30, d + 1)
    torch.testing.assert_close(space.embed(a) @ space.embed(b).T, whole[0] @ whole[1].T, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        torch.cdist(space.embed(a), space.embed(b)), torch.cdist(*whole), atol=1e-4, rtol=1e-3
    )
    assert not torch.allclose(a @ b.T, whole[0] @ whole[1].T, atol=0.1)


def test_cosines_are_those_of_the_extracted_features():
    mean, basis = compressed()
    a, b = stored(30), stored(4)
    whole = [mean + features @ basis for features in (a, b)]
    wanted = cosine_similarity(whole[0][:, None], whole[1][None], dim=-1)
    space = About(feature_mean=mean, feature_basis=basis).cosine_space(5)
    torch.testing.assert_close(space.cosine(a, b), wanted, atol=1e-5, rtol=0)
    plain = cosine_similarity(a[:, None], b[None], dim=-1)
    assert not torch.allclose(wanted, plain, atol=0.05)
    torch.testing.assert_close(About().cosine_space(5).cosine(a, b), plain, atol=1e-5, rtol=0)


def test_pictures_of_features_keep_their_shape():
    space = CosineSpace.of(*compressed())
    picture = stored(12).reshape(3, 4, 5)
    assert torch.equal(space.units(picture).reshape(12, 6), space.units(picture.reshape(12, 5)))
    torch.testing.assert_close(space.units(picture).norm(dim=-1), torch.ones(3, 4))


def test_a_feature_of_zero_is_like_nothing_and_has_finite_gradients():
    space = CosineSpace.plain(3)
    zeros = torch.zeros(2, 3, requires_grad=True)
    found = space.cosine(zeros, torch.ones(1, 3))
    assert not found.detach().any()
    found.sum().backward()
    assert zeros.grad is not None and zeros.grad.isfinite().all()
