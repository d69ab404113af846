"""Mirrors and the integrated directional encoding: its laws, and the compiled kernel against the formula."""

from itertools import pairwise
from math import pi

import numpy as np
import pytest
import torch
from laws import random_rotation, seeded, uniform, unit_vectors

from featurefields.maths import ide_kernel, reflections
from featurefields.maths.reflections import IDE_DIM, ORDERS, ide, ide_by_formula, lobe_width, reflect

SIZES = (1, 15, 16, 17, 33, 1000)


def points(size: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Directions (p 3) and lobe widths (p 1) from mirrors to matt."""
    generator = seeded(seed)
    widths = 10 ** uniform(-6, 0.5, size, 1, generator=generator)
    widths[::3] = 0.0
    return unit_vectors(size, generator), widths


@pytest.mark.parametrize("seed", range(3))
def test_mirrors(seed):
    generator = seeded(seed)
    towards, normals = unit_vectors(100, generator), unit_vectors(100, generator)
    leaving = reflect(towards, normals)
    torch.testing.assert_close(leaving.norm(dim=-1), torch.ones(100).double())
    torch.testing.assert_close(reflect(leaving, normals), towards)
    torch.testing.assert_close(reflect(towards, -normals), leaving)
    torch.testing.assert_close((leaving * normals).sum(-1), -(towards * normals).sum(-1))
    across = torch.linalg.cross(towards, normals)
    torch.testing.assert_close((leaving * across).sum(-1), torch.zeros(100).double(), atol=1e-12, rtol=0)


def test_head_on_light_comes_back():
    normals = unit_vectors(10, seeded(4))
    torch.testing.assert_close(reflect(-normals, normals), normals)


def test_turning_everything_turns_the_reflection():
    generator = seeded(5)
    towards, normals, turn = (
        unit_vectors(9, generator),
        unit_vectors(9, generator),
        random_rotation(generator),
    )
    torch.testing.assert_close(
        reflect(towards @ turn.T, normals @ turn.T), reflect(towards, normals) @ turn.T
    )


def test_lobes_widen_with_roughness():
    roughness = torch.linspace(0, 1, 50).double()[:, None]
    widths = lobe_width(roughness)
    assert widths[0] == 0 and widths[-1] == 2
    assert (widths[1:] > widths[:-1]).all()
    # the GGX lobe: with alpha = roughness^2, kappa = 1 / (2 alpha^2)
    torch.testing.assert_close(1 / widths[1:], 1 / (2 * (roughness[1:] ** 2) ** 2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_encoding_of_a_mirror_has_the_same_norm_everywhere(dtype):
    directions = unit_vectors(300, seeded(6)).to(dtype)
    norms = ide(directions, torch.zeros(300, 1, dtype=dtype)).square().sum(-1)
    wanted = sum(2 * order + 1 for order in ORDERS) / (4 * pi)
    torch.testing.assert_close(norms, torch.full_like(norms, wanted), atol=1e-4, rtol=0)


def test_every_order_fades_with_roughness_the_higher_the_faster():
    directions = unit_vectors(1, seeded(7)).expand(60, 3)
    code = ide(directions, lobe_width(torch.linspace(0.05, 1, 60).double()[:, None]))
    norms = [band.norm(dim=-1) for band in code.split([2 * order + 1 for order in ORDERS], dim=-1)]
    for band in norms:
        assert (band[1:] < band[:-1]).all()
    shares = [band / band[0] for band in norms]
    for low, high in pairwise(shares):
        assert (high[1:] < low[1:]).all()


@pytest.mark.parametrize(("kappa", "tolerance"), [(30.0, 2e-2), (100.0, 3e-3), (1000.0, 5e-5)])
def test_the_encoding_is_the_mean_over_a_lobe(kappa, tolerance):
    """By Funk and Hecke the mean over a lobe is Y times the mean of P_l(t) under exp(kappa t)."""
    t, weight = np.polynomial.legendre.leggauss(400)
    lobe = weight * np.exp(kappa * (t - 1))
    directions = unit_vectors(5, seeded(8))
    width = torch.full((5, 1), 1 / kappa).double()
    sharp = ide(directions, torch.zeros_like(width))
    fades = [
        (lobe * np.polynomial.legendre.Legendre.basis(order)(t)).sum() / lobe.sum()
        for order in ORDERS
        for _ in range(2 * order + 1)
    ]
    torch.testing.assert_close(ide(directions, width), sharp * torch.tensor(fades), atol=tolerance, rtol=0)
    assert not torch.allclose(ide(directions, 2 * width), sharp * torch.tensor(fades), atol=tolerance, rtol=0)


def gradients(encode, directions, widths, incoming):
    directions, widths = directions.clone().requires_grad_(), widths.clone().requires_grad_()
    out = encode(directions, widths)
    return out.detach(), *torch.autograd.grad(out, (directions, widths), incoming)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("threads", [1, 3])
def test_the_kernel_equals_the_formula(size, threads, monkeypatch):
    monkeypatch.setattr(ide_kernel, "thread_count", lambda: threads)
    directions, widths = points(size, seed=size)
    incoming = torch.randn(size, IDE_DIM, generator=seeded(size)).double()
    exact = gradients(ide_by_formula, directions, widths, incoming)
    found = gradients(ide, directions.float(), widths.float(), incoming.float())
    for name, got, wanted, tolerance in zip(
        ("value", "by direction", "by width"), found, exact, (3e-5, 3e-4, 3e-4), strict=True
    ):
        assert got.dtype == torch.float32
        assert got.shape == wanted.shape
        scale = max(1.0, float(wanted.abs().max()))
        assert float((got - wanted).abs().max()) < tolerance * scale, name


def test_the_kernel_is_what_runs_in_single_precision(monkeypatch):
    monkeypatch.setattr(reflections, "ide_by_formula", None)
    directions, widths = points(20)
    assert ide(directions.float(), widths.float()).shape == (20, IDE_DIM)
    with pytest.raises(TypeError):
        ide(directions, widths)


def test_the_kernel_takes_pictures_and_strided_tensors():
    directions, widths = (x.float() for x in points(60))
    wanted = ide(directions, widths)
    picture = ide(directions.reshape(5, 12, 3), widths.reshape(5, 12, 1))
    torch.testing.assert_close(picture, wanted.reshape(5, 12, IDE_DIM), atol=0, rtol=0)
    columns_first = ide(directions.T.contiguous().T, widths)
    torch.testing.assert_close(columns_first, wanted, atol=0, rtol=0)
    assert ide(directions[:0], widths[:0]).shape == (0, IDE_DIM)


def test_very_wide_lobes_fade_to_nothing_and_stay_finite():
    directions, _ = points(40)
    code = ide(directions.float(), torch.full((40, 1), 1e6))
    assert code.isfinite().all()
    assert code.abs().max() < 1e-12


def test_the_formula_has_exact_gradients():
    directions, widths = points(3, seed=1)
    widths = widths + 0.01
    assert torch.autograd.gradcheck(ide_by_formula, (directions.requires_grad_(), widths.requires_grad_()))
