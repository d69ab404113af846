"""Mathematics of pixels: the sRGB curve, coverage, structural similarity."""

import numpy as np
import pytest
import torch
from laws import seeded

from featurefields.maths import ssim as ssim_module
from featurefields.maths.colour import LINEAR_KNEE, SRGB_KNEE, linear_from_srgb, srgb_from_linear
from featurefields.maths.compositing import over_alpha
from featurefields.maths.ssim import C1, C2, WINDOW, ssim, ssim_by_formula

SIZES = [(7, 7, 1), (7, 8, 3), (8, 7, 3), (13, 7, 1), (14, 15, 3), (31, 20, 4), (64, 48, 3)]


def pictures(shape: tuple[int, int, int], seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Two pictures that look alike, with flat and busy places, float64."""
    generator = seeded(seed)
    a = torch.rand(shape, generator=generator).double()
    a[: shape[0] // 2] *= 0.05
    noise = 0.2 * torch.randn(shape, generator=generator).double()
    return a, (a + noise).clamp(0, 1)


def test_the_curve_at_known_points():
    linear = torch.tensor([0.0, 0.002, 0.0031308, 0.214041140482, 0.5, 1.0]).double()
    srgb = torch.tensor([0.0, 0.02584, 0.04044994, 0.5, 0.735356983, 1.0]).double()
    torch.testing.assert_close(srgb_from_linear(linear), srgb, atol=1e-6, rtol=0)
    torch.testing.assert_close(linear_from_srgb(srgb), linear, atol=1e-6, rtol=0)


def test_the_curve_and_back():
    values = torch.linspace(-0.5, 3.0, 5001).double()
    torch.testing.assert_close(linear_from_srgb(srgb_from_linear(values)), values, atol=1e-7, rtol=0)
    torch.testing.assert_close(srgb_from_linear(linear_from_srgb(values)), values, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("curve", "knee"), [(srgb_from_linear, LINEAR_KNEE), (linear_from_srgb, SRGB_KNEE)])
def test_the_curve_rises_without_a_jump_and_keeps_its_gradient(curve, knee):
    values = torch.linspace(-1, 2, 3001).double().requires_grad_()
    encoded = curve(values)
    assert (encoded[1:] > encoded[:-1]).all()
    (slope,) = torch.autograd.grad(encoded.sum(), values)
    assert slope.isfinite().all() and (slope > 0).all()
    below, above = curve(torch.tensor([knee - 1e-9, knee + 1e-9]).double())
    assert abs(above - below) < 1e-6


def test_over_alpha_divides_by_coverage_where_there_is_any():
    generator = seeded(1)
    colour, alpha = torch.rand(4, 5, 3, generator=generator), torch.rand(4, 5, generator=generator) + 0.01
    torch.testing.assert_close(over_alpha(colour * alpha[..., None], alpha), colour)
    alpha = alpha.clone()
    alpha[1] = 0.0
    alpha[2] = 1e-4
    pixels = (colour * alpha[..., None]).requires_grad_()
    coverage = alpha.requires_grad_()
    shown = over_alpha(pixels, coverage)
    assert (shown[1:3] == 0).all() and (shown[0] > 0).all()
    by_pixels, by_alpha = torch.autograd.grad(shown.sum(), (pixels, coverage))
    assert by_pixels.isfinite().all() and by_alpha.isfinite().all()
    assert (by_pixels[1:3] == 0).all() and (by_alpha[1:3] == 0).all()
    torch.testing.assert_close(by_pixels[0], (1 / alpha[0])[:, None].expand(5, 3))


def brute_force(a: np.ndarray, b: np.ndarray) -> float:
    """The definition, window by window."""
    height, width, channels = a.shape
    indices = []
    for k in range(channels):
        for y in range(height - WINDOW + 1):
            for x in range(width - WINDOW + 1):
                p, q = (picture[y : y + WINDOW, x : x + WINDOW, k] for picture in (a, b))
                covariance = ((p - p.mean()) * (q - q.mean())).mean()
                light = (2 * p.mean() * q.mean() + C1) / (p.mean() ** 2 + q.mean() ** 2 + C1)
                indices.append(light * (2 * covariance + C2) / (p.var() + q.var() + C2))
    return float(np.mean(indices))


@pytest.mark.parametrize("shape", SIZES[:5])
def test_ssim_is_its_definition(shape):
    a, b = pictures(shape)
    wanted = brute_force(a.numpy(), b.numpy())
    assert float(ssim_by_formula(a, b)) == pytest.approx(wanted, abs=1e-10)
    assert float(ssim(a.float(), b.float())) == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_compiled_ssim_equals_the_formula(shape, threads, monkeypatch):
    monkeypatch.setattr(ssim_module, "thread_count", lambda: threads)
    a, b = pictures(shape, seed=3)
    exact = a.clone().requires_grad_()
    (3.0 * ssim_by_formula(exact, b)).backward()
    compiled = a.float().requires_grad_()
    value = ssim(compiled, b.float())
    (3.0 * value).backward()
    assert value.item() == pytest.approx(float(ssim_by_formula(a, b)), abs=2e-5)
    scale = float(exact.grad.abs().max())
    assert float((compiled.grad - exact.grad).abs().max()) < 2e-3 * scale
    # the gradient's neighbour: one window's share, moved by one pixel, would be noticed
    assert float((compiled.grad.roll(1, 1) - exact.grad).abs().max()) > 2e-2 * scale


def test_the_kernel_runs_only_where_it_has_all_gradients(monkeypatch):
    a, b = pictures((9, 9, 3))
    wanted = a.clone().requires_grad_(), b.clone().requires_grad_()
    exact = torch.autograd.grad(ssim_by_formula(*wanted), wanted)
    both = a.float().requires_grad_(), b.float().requires_grad_()
    found = torch.autograd.grad(ssim(*both), both)
    for got, gradient in zip(found, exact, strict=True):
        torch.testing.assert_close(got.double(), gradient, atol=1e-4, rtol=1e-3)
    monkeypatch.setattr(ssim_module, "ssim_by_formula", None)
    assert 0 < ssim(a.float().requires_grad_(), b.float()).item() < 1


@pytest.mark.parametrize("shape", SIZES)
def test_a_picture_is_like_itself_and_less_like_others(shape):
    a, b = (picture.float() for picture in pictures(shape))
    assert float(ssim(a, a)) == pytest.approx(1.0, abs=1e-6)
    assert float(ssim(a, b)) == pytest.approx(float(ssim(b, a)), abs=1e-6)
    assert float(ssim(a, b)) < 0.98
    assert float(ssim(a, 1 - a)) < float(ssim(a, b))


def test_running_sums_do_not_drift_over_a_large_bright_picture():
    generator = seeded(4)
    a = (0.9 + 0.02 * torch.randn(300, 400, 3, generator=generator)).double().clamp(0, 1)
    b = (a + 0.01 * torch.randn(300, 400, 3, generator=generator)).clamp(0, 1)
    assert float(ssim(a.float(), b.float())) == pytest.approx(float(ssim_by_formula(a, b)), abs=2e-4)


def test_strided_pictures():
    a, b = (picture.float() for picture in pictures((20, 30, 3)))
    turned = ssim(a.permute(1, 0, 2), b.permute(1, 0, 2))
    assert float(turned) == pytest.approx(float(ssim(a, b)), abs=1e-6)
