"""Laws of the feature basis."""

import pytest
import torch

from featurefields.errors import FittingError
from featurefields.vision.compress import FeatureBasis, fit_basis
from featurefields.vision.interface import FeatureMap


def maps_in_a_plane(generator: torch.Generator, *, noise: float = 0.0) -> dict[str, FeatureMap]:
    """Features of 12 dimensions that vary in 3 only, over maps of different sizes."""
    directions = torch.linalg.qr(torch.randn(12, 3, generator=generator)).Q.T
    offset = torch.randn(12, generator=generator)
    maps = {}
    for number, (rows, columns) in enumerate([(5, 7), (9, 4), (6, 6)]):
        inner = torch.randn(rows, columns, 3, generator=generator) * torch.tensor([3.0, 2.0, 1.0])
        values = offset + inner @ directions + noise * torch.randn(rows, columns, 12, generator=generator)
        maps[f"view{number}"] = FeatureMap(values.movedim(-1, 0).half(), (columns * 4, rows * 4))
    return maps


def test_basis_spans_the_features(generator):
    maps = maps_in_a_plane(generator)
    basis = fit_basis(maps, 3)
    torch.testing.assert_close(basis.basis @ basis.basis.T, torch.eye(3), atol=1e-5, rtol=0)
    assert basis.explained is not None
    assert basis.explained.sum() > 0.9999
    assert (basis.explained[:-1] >= basis.explained[1:]).all()
    for extracted in maps.values():
        features = extracted.features.float().movedim(0, -1)
        assert (basis.decode(basis.encode(features)) - features).abs().max() < 0.02
        stored = basis.encode_map(extracted)
        assert (stored.dim, stored.grid, stored.size) == (3, extracted.grid, extracted.size)
        torch.testing.assert_close(
            stored.features.float().movedim(0, -1), basis.encode(features), atol=0.01, rtol=0.002
        )
    assert fit_basis(maps, 2).explained.sum() < 0.97  # a dimension too few is noticed


def test_all_samples_match_the_singular_value_decomposition(generator):
    maps = maps_in_a_plane(generator, noise=0.5)
    rows = torch.cat([m.features.double().flatten(1).T for m in maps.values()])
    centred = rows - rows.mean(0)
    _, values, right = torch.linalg.svd(centred, full_matrices=False)
    basis = fit_basis(maps, 5)
    torch.testing.assert_close(basis.mean.double(), rows.mean(0), atol=1e-6, rtol=0)
    shares = values.square() / values.square().sum()
    torch.testing.assert_close(basis.explained.double(), shares[:5], atol=1e-6, rtol=1e-5)
    alignment = (basis.basis.double() * right[:5]).sum(-1).abs()
    assert (alignment > 1 - 1e-6).all()


def test_decode_is_linear_and_encode_its_left_inverse(generator):
    basis = fit_basis(maps_in_a_plane(generator, noise=0.3), 4)
    a, b = torch.randn(2, 6, 5, 4, generator=generator)
    torch.testing.assert_close(basis.encode(basis.decode(a)), a, atol=1e-5, rtol=1e-5)
    mixed = basis.decode(0.3 * a + 0.7 * b)
    torch.testing.assert_close(mixed, 0.3 * basis.decode(a) + 0.7 * basis.decode(b), atol=1e-5, rtol=1e-5)


def test_same_seed_same_basis(generator):
    maps = maps_in_a_plane(generator, noise=1.0)
    one, two = (fit_basis(maps, 4, samples=40, generator=torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(one.basis, two.basis)
    assert torch.equal(one.mean, two.mean)
    other = fit_basis(maps, 4, samples=40, generator=torch.Generator().manual_seed(6))
    assert not torch.equal(one.basis, other.basis)
    largest = one.basis.gather(1, one.basis.abs().argmax(1, keepdim=True))
    assert (largest > 0).all()


def test_every_dimension_is_a_change_of_axes(generator):
    maps = maps_in_a_plane(generator, noise=0.5)
    basis = fit_basis(maps, 100)
    assert basis.dim == 12
    features = torch.randn(7, 12, generator=generator)
    torch.testing.assert_close(basis.decode(basis.encode(features)), features, atol=1e-5, rtol=1e-5)


def test_constant_features_have_no_variance():
    basis = fit_basis({"a": FeatureMap(torch.full((4, 3, 3), 2.0).half(), (12, 12))}, 2)
    assert basis.explained.tolist() == [0.0, 0.0]
    torch.testing.assert_close(basis.decode(torch.zeros(2)), torch.full((4,), 2.0))


def test_basis_without_shares_from_stored_tensors(generator):
    basis = fit_basis(maps_in_a_plane(generator), 3)
    again = FeatureBasis(basis.mean, basis.basis)
    features = torch.randn(5, 12, generator=generator)
    assert torch.equal(again.encode(features), basis.encode(features))


def test_refusals(generator):
    with pytest.raises(FittingError, match="0 maps"):
        fit_basis({}, 3)
    maps = maps_in_a_plane(generator)
    with pytest.raises(FittingError, match="0 dimensions"):
        fit_basis(maps, 0)
    maps["odd"] = FeatureMap(torch.zeros(5, 2, 2).half(), (8, 8))
    with pytest.raises(FittingError, match="view 'odd' has 5 dimensions"):
        fit_basis(maps, 3)
