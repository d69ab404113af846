"""What teacher views are made of: averages of Gaussians that carry something, and blending within segments."""

import pytest
import torch
from tiny_lifting import CPU, REFERENCE, cameras_around, scattered

from featurefields.maths.compositing import over_alpha
from featurefields.raster import RasterConfig
from featurefields.raster.averages import Averages, draw_averages
from featurefields.vision.blending import blend, segment_means


@pytest.fixture
def drawn_field():
    return scattered().splats, cameras_around()["v1"]


@pytest.mark.parametrize("rasterizer", [CPU, REFERENCE], ids=["cpu", "reference"])
def test_equal_values_stay_what_they_are(drawn_field, rasterizer):
    splats, camera = drawn_field
    values = torch.tensor([0.5, -2.0]).expand(len(splats), 2)
    weights = (torch.arange(len(splats)) % 3 > 0).float()
    seen = draw_averages(rasterizer, splats, values, camera, weights=weights)
    found = seen.share > 1e-3
    assert 0.2 < found.float().mean() < 1.0
    torch.testing.assert_close(
        seen.image[found], values[:1].expand(int(found.sum()), 2), atol=1e-4, rtol=1e-4
    )
    assert (seen.image[~found] == 0).all()


def test_weightless_gaussians_hide_and_lend_nothing(drawn_field, generator):
    """The same as drawing by hand: premultiplied values over the drawn weight, nothing over alpha."""
    splats, camera = drawn_field
    values = torch.randn(len(splats), 3, generator=generator)
    weights = torch.rand(len(splats), generator=generator).round()
    seen = draw_averages(CPU, splats, values, camera, weights=weights)
    everything = draw_averages(CPU, splats, values, camera)
    assert (seen.share <= everything.share + 1e-6).all() and seen.share.sum() < 0.9 * everything.share.sum()
    changed = torch.where(weights[:, None] > 0, values, 100.0)
    torch.testing.assert_close(draw_averages(CPU, splats, changed, camera, weights=weights).image, seen.image)
    by_hand = REFERENCE.draw(splats, values * weights[:, None], camera, RasterConfig()).image
    torch.testing.assert_close(seen.image, over_alpha(by_hand, seen.share), atol=1e-3, rtol=1e-3)


def test_visible_needs_cover_and_the_right_surface():
    share = torch.tensor([[0.9, 0.9, 0.9, 0.4]])
    seen = Averages(torch.zeros(1, 4, 1), share, torch.tensor([[1.0, 1.0, 1.0, 1.0]]))
    assert seen.visible().tolist() == [[True, True, True, False]]
    depth = torch.tensor([[1.02, 1.2, 0.0, 1.0]])
    assert seen.visible(depth).tolist() == [[True, False, True, False]]


def test_segment_means_by_brute_force(generator):
    pixels = torch.randn(5, 6, 3, generator=generator)
    masks = torch.randint(0, 4, (5, 6), generator=generator) * 7 - 7
    valid = torch.rand(5, 6, generator=generator) > 0.4
    means = segment_means(pixels, masks, valid)
    for segment in masks.unique():
        inside = masks == segment
        counted = inside & valid
        expected = pixels[counted].mean(0) if counted.any() else torch.zeros(3)
        torch.testing.assert_close(means[inside], expected.expand(int(inside.sum()), 3))


def test_blending_keeps_segment_means_and_shrinks_what_differs(generator):
    pixels = torch.randn(6, 5, 2, generator=generator)
    masks = torch.randint(0, 3, (6, 5), generator=generator)
    half = blend(pixels, masks, 0.5)
    torch.testing.assert_close(segment_means(half, masks), segment_means(pixels, masks))
    means = segment_means(pixels, masks)
    torch.testing.assert_close(half - means, 0.5 * (pixels - means))
    assert blend(pixels, masks, 1.0) is pixels
    torch.testing.assert_close(blend(pixels, masks, 0.0), means)
