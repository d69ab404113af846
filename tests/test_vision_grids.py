"""Laws of going between patches and pixels."""

import pytest
import torch

from featurefields.vision.grids import patch_segments, pool, sample, upsample

SIZES = [((40, 24), (5, 3)), ((37, 23), (5, 3)), ((8, 8), (1, 1)), ((6, 9), (12, 3)), ((50, 31), (1, 4))]


def patch_centres(size: tuple[int, int], grid: tuple[int, int]) -> torch.Tensor:
    """(2 hp wp): x and y of the patch centres in pixels."""
    x = (torch.arange(grid[0], dtype=torch.float64) + 0.5) * size[0] / grid[0]
    y = (torch.arange(grid[1], dtype=torch.float64) + 0.5) * size[1] / grid[1]
    return torch.stack(torch.meshgrid(x, y, indexing="xy"))


def pixel_centres(size: tuple[int, int]) -> torch.Tensor:
    """(h w 2): x and y of the pixel centres."""
    x = torch.arange(size[0], dtype=torch.float64) + 0.5
    y = torch.arange(size[1], dtype=torch.float64) + 0.5
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)


@pytest.mark.parametrize(("size", "grid"), SIZES)
def test_constant_stays_constant(size, grid):
    features = torch.tensor([2.0, -3.0])[:, None, None].expand(2, grid[1], grid[0])
    masks = (torch.arange(size[0] * size[1]) % 3).view(size[1], size[0])
    expected = torch.tensor([2.0, -3.0]).expand(size[1], size[0], 2)
    torch.testing.assert_close(upsample(features, size), expected)
    torch.testing.assert_close(upsample(features, size, masks=masks), expected)
    torch.testing.assert_close(pool(expected, grid), features)


@pytest.mark.parametrize(("size", "grid"), [((40, 24), (5, 3)), ((37, 23), (5, 3)), ((50, 31), (7, 4))])
def test_linear_ramp_is_exact_between_the_outermost_centres(size, grid):
    ramp = patch_centres(size, grid)
    xy = pixel_centres(size)
    low, high = ramp[:, 0, 0], ramp[:, -1, -1]
    inside = ((xy >= low) & (xy <= high)).all(-1)
    assert inside.any()
    torch.testing.assert_close(upsample(ramp, size)[inside], xy[inside])
    torch.testing.assert_close(upsample(ramp, size), torch.minimum(torch.maximum(xy, low), high))


@pytest.mark.parametrize(("size", "grid"), SIZES)
def test_sample_agrees_with_upsample(size, grid, generator):
    features = torch.randn(4, grid[1], grid[0], generator=generator, dtype=torch.float64)
    at = pixel_centres(size).view(-1, 2)
    torch.testing.assert_close(sample(features, at, size), upsample(features, size).view(-1, 4))


def test_one_segment_equals_plain_bilinear(generator):
    features = torch.randn(4, 3, 5, generator=generator, dtype=torch.float64)
    masks = torch.full((23, 37), 7)
    torch.testing.assert_close(upsample(features, (37, 23), masks=masks), upsample(features, (37, 23)))


def test_masked_upsampling_equals_brute_force(generator):
    """Pixel by pixel from the definition: same-segment bilinear, else nearest own patch, else plain bilinear."""
    size, grid = (19, 14), (5, 4)
    features = torch.randn(3, grid[1], grid[0], generator=generator, dtype=torch.float64)
    masks = torch.randint(0, 3, (4, 5), generator=generator).repeat_interleave(4, 0).repeat_interleave(4, 1)
    masks = masks[: size[1], : size[0]].clone()
    masks[6, 9] = 9  # a segment that owns no patch
    masks[1, 1], masks[12, 3] = masks[13, 18], masks[0, 18]  # lonely pixels
    owners = patch_segments(masks, grid)
    centres = patch_centres(size, grid).movedim(0, -1)
    pitch = torch.tensor([size[0] / grid[0], size[1] / grid[1]], dtype=torch.float64)
    plain = upsample(features, size)
    got = upsample(features, size, masks=masks)
    kinds = set()
    for y in range(size[1]):
        for x in range(size[0]):
            offset = (torch.tensor([x + 0.5, y + 0.5], dtype=torch.float64) - centres).abs()
            at = torch.tensor([x + 0.5, y + 0.5], dtype=torch.float64).clamp(centres[0, 0], centres[-1, -1])
            weight = (1 - (at - centres).abs() / pitch).clamp(min=0).prod(-1) * (owners == masks[y, x])
            if weight.sum() > 1e-12:
                kinds.add("bilinear")
                expected = (features * weight).sum((1, 2)) / weight.sum()
            elif (owners == masks[y, x]).any():
                kinds.add("nearest")
                distance = torch.where(owners == masks[y, x], offset.square().sum(-1), torch.inf)
                expected = features.flatten(1)[:, distance.argmin()]
            else:
                kinds.add("plain")
                expected = plain[y, x]
            torch.testing.assert_close(got[y, x], expected)
    assert kinds == {"bilinear", "nearest", "plain"}


def test_masked_upsampling_does_not_leak(generator):
    """Each patch carries its owner; every pixel of a segment that owns a patch sees nothing else."""
    size, grid = (64, 48), (8, 6)
    xy = pixel_centres(size)
    masks = ((xy - torch.tensor([30.0, 20.0])).norm(dim=-1) < 15).long() * 5 + (xy[..., 0] > 50).long()
    owners = patch_segments(masks, grid)
    carried = owners.double()[None]
    assert torch.equal(upsample(carried, size, masks=masks)[..., 0], masks.double())
    assert (upsample(carried, size)[..., 0] - masks).abs().max() > 1  # plain bilinear does leak


def test_patch_segments_take_the_majority():
    masks = torch.tensor([[1, 1, 2, 2], [1, 3, 2, 1], [4, 4, 6, 6], [4, 4, 7, 7]])
    assert patch_segments(masks, (2, 2)).tolist() == [[1, 2], [4, 6]]
    assert patch_segments(masks - 5, (2, 2)).tolist() == [[-4, -3], [-1, 1]]
    finer = patch_segments(torch.tensor([[3]]), (3, 1))
    assert finer.tolist() == [[-1, 3, -1]]


@pytest.mark.parametrize(("size", "grid"), SIZES)
def test_pool_is_the_mean_by_area(size, grid, generator):
    """Against a brute-force mean on a grid so fine that both pixels and patches are whole cells."""
    pixels = torch.randn(size[1], size[0], 2, generator=generator, dtype=torch.float64)
    fine = pixels.repeat_interleave(grid[1], 0).repeat_interleave(grid[0], 1)
    cells = fine.view(grid[1], size[1], grid[0], size[0], 2)
    torch.testing.assert_close(pool(pixels, grid), cells.mean((1, 3)).movedim(-1, 0))


def test_pool_with_weights_ignores_what_has_none(generator):
    pixels = torch.randn(12, 16, 3, generator=generator, dtype=torch.float64)
    weights = torch.rand(12, 16, generator=generator, dtype=torch.float64)
    weights[:4, :4] = 0
    weights[8:, 7] = 0
    spoiled = torch.where(weights[..., None] > 0, pixels, 1e6)
    got = pool(spoiled, (4, 3), weights=weights)
    expected = pool(pixels * weights[..., None], (4, 3)) / pool(weights[..., None], (4, 3)).clamp(min=1e-30)
    torch.testing.assert_close(got, expected)
    assert got[:, 0, 0].tolist() == [0.0, 0.0, 0.0]


def test_pool_undoes_upsample_of_smooth_maps():
    grid, size = (16, 12), (128, 96)
    x, y = patch_centres(size, grid) / 40
    smooth = torch.stack([torch.sin(x) + y, torch.cos(x * 0.7 + y)])
    back = pool(upsample(smooth, size), grid)
    assert (back - smooth)[:, 1:-1, 1:-1].abs().max() < 0.01 * (smooth.max() - smooth.min())
    corner_aligned = torch.nn.functional.interpolate(
        smooth[None], (96, 128), mode="bilinear", align_corners=True
    )
    off = pool(corner_aligned[0].movedim(0, -1).contiguous(), grid)
    assert (off - smooth)[:, 1:-1, 1:-1].abs().max() > 0.02 * (smooth.max() - smooth.min())


def test_half_precision_and_gradients(generator):
    half = torch.randn(3, 4, 5, generator=generator).half()
    assert upsample(half, (20, 16)).dtype == torch.float32
    features = torch.randn(1, 2, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    masks = (torch.arange(5 * 6) % 4 // 2).view(5, 6)
    assert torch.autograd.gradcheck(lambda f: upsample(f, (6, 5), masks=masks), (features,))
    pixels = torch.randn(5, 6, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p: pool(p, (4, 3)), (pixels,))
