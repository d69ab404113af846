"""The CPU kernels against the reference in float64, in value and gradient, on scenes of every kind."""

from dataclasses import replace

import pytest
import torch
from laws import KINDS, assert_mostly_close, gradients, outliers, random_scene, seeded

from featurefields.camera import Camera
from featurefields.errors import UnavailableError
from featurefields.raster import RasterConfig
from featurefields.raster.cpu import CpuRasterizer, frame
from featurefields.raster.reference import ReferenceRasterizer
from featurefields.splats import Splats

CONFIG = RasterConfig()
CPU, REFERENCE = CpuRasterizer(), ReferenceRasterizer()
SIZES = [(1, 1), (7, 5), (16, 16), (33, 50)]


def both(rasterizer, camera: Camera, config: RasterConfig = CONFIG):
    """A function from splats and channels to image and alpha."""

    def draw(splats: Splats, channels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        drawn = rasterizer.draw(splats, channels, camera, config)
        return drawn.image, drawn.alpha

    return draw


def check_values(scene, *, tolerance: float = 1e-5, config: RasterConfig = CONFIG) -> None:
    splats, channels, camera = scene
    wanted = REFERENCE.draw(splats, channels, camera, config)
    found = CPU.draw(splats.to(torch.float32), channels.float(), camera.to(torch.float32), config)
    assert_mostly_close(found.image, wanted.image, tolerance=tolerance)
    assert_mostly_close(found.alpha, wanted.alpha, tolerance=tolerance)


def check_gradients(scene, *, tolerance: float = 1e-4, config: RasterConfig = CONFIG, seed: int = 0) -> None:
    """Every gradient within `tolerance` of its column's largest, but for 1 in 100 (see `assert_mostly_close`)."""
    splats, channels, camera = scene
    generator = seeded(seed)
    height, width = camera.height, camera.width
    by_image = torch.randn(height, width, channels.shape[1], generator=generator).double()
    by_alpha = torch.randn(height, width, generator=generator).double()
    exact = gradients(both(REFERENCE, camera, config), splats, channels, by_image, by_alpha)
    found = gradients(
        both(CPU, camera.to(torch.float32), config),
        splats.to(torch.float32),
        channels.float(),
        by_image,
        by_alpha,
    )
    assert exact.keys() == found.keys()
    for name, gradient in exact.items():
        scale = float(gradient.abs().max()) if gradient.numel() else 0.0
        if scale == 0:
            assert not found[name].any(), name
            continue
        off = outliers(found[name] / scale, gradient / scale, tolerance)
        assert off <= 1e-2, f"{off:.1%} of the gradients by {name} are off by more than {tolerance:g}"


VALUES = {"near_plane": 5e-4, "needles": 5e-5, "long_needles": 1e-3}
GRADIENTS = {"near_plane": 1e-3, "long_needles": 1e-2, "opaque": 5e-3}
"""Where float32 itself loses digits: positions near the camera, far ends of needles, 1 - opacity near 0."""


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", KINDS)
def test_values(name, size):
    for seed in range(3):
        check_values(random_scene(name, 60, size, seed), tolerance=VALUES.get(name, 1e-5))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", KINDS)
def test_gradients(name, size):
    for seed in range(2):
        check_gradients(random_scene(name, 40, size, seed + 10), tolerance=GRADIENTS.get(name, 1e-4))


@pytest.mark.parametrize("reach", [4.0, 7.0])
def test_needles_longer_than_the_world_keep_finite_gradients(reach):
    """Their covariance has a determinant of less than one part in 10^7 of its terms."""
    splats, channels, camera = random_scene("needles", 5, (60, 40), 3)
    longer = splats.log_scales.clone()
    longer[:, 0], longer[:, 1:] = reach, -4.0
    scene = replace(splats, log_scales=longer), channels, camera
    check_values(scene, tolerance=2e-3)
    check_gradients(scene, tolerance=1e-2)


@pytest.mark.parametrize("channels", [1, 3, 15, 16, 17, 40])
def test_any_number_of_channels(channels):
    scene = random_scene("plain", 50, (20, 18), channels, channels=channels)
    check_values(scene)
    check_gradients(scene)


@pytest.mark.parametrize("n", [1, 2, 500])
def test_any_number_of_gaussians(n):
    check_values(random_scene("plain", n, (37, 23), n))


@pytest.mark.parametrize(
    "change",
    [
        {"near": 2.5},
        {"alpha_min": 0.02},
        {"alpha_max": 0.7},
        {"blur_px2": 0.35},
        {"transmittance_min": 3e-2},
        {"clip_margin": 0.1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_constant_is_obeyed_and_a_slightly_other_one_noticed(change):
    name = "off_screen" if "clip_margin" in change else "plain"
    scene = random_scene(name, 60, (24, 20), 5)
    config = replace(CONFIG, **change)
    check_values(scene, config=config)
    check_gradients(scene, config=config)
    splats, channels, camera = scene
    usual = CPU.draw(splats.to(torch.float32), channels.float(), camera.to(torch.float32), CONFIG)
    wanted = REFERENCE.draw(splats, channels, camera, config)
    with pytest.raises(AssertionError, match="are off by more than"):
        assert_mostly_close(usual.image, wanted.image, tolerance=1e-5)


@pytest.mark.parametrize("column", ["means", "quats", "log_scales", "opacity_logits"])
def test_a_gradient_that_is_slightly_wrong_would_be_noticed(column, monkeypatch):
    """The tolerance of the comparison has a neighbour that breaks it: one gradient off by one part in 200."""
    right = CpuRasterizer.draw

    def wrong(self, splats, channels, camera, config):
        value = splats.tensors()[column]
        slower = Splats.from_tensors(splats.tensors() | {column: 0.995 * value + 0.005 * value.detach()})
        return right(self, slower, channels, camera, config)

    monkeypatch.setattr(CpuRasterizer, "draw", wrong)
    with pytest.raises(AssertionError, match=f"gradients by {column}"):
        check_gradients(random_scene("plain", 40, (20, 18), 1))


@pytest.mark.parametrize("threads", [1, 3, 7])
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (50, 33)])
def test_any_number_of_threads(threads, size, monkeypatch):
    """More threads than tiles or Gaussians included; values have the same bits, gradients are sums in another order."""
    splats, channels, camera = random_scene("plain", 30, size, 2)
    splats, channels, camera = splats.to(torch.float32), channels.float(), camera.to(torch.float32)
    by_image, by_alpha = torch.ones(size[1], size[0], 3), torch.ones(size[1], size[0])
    results = []
    for count in (2, threads):
        monkeypatch.setattr(frame, "thread_count", lambda count=count: count)
        drawn = CPU.draw(splats, channels, camera, CONFIG)
        results.append((drawn, gradients(both(CPU, camera), splats, channels, by_image, by_alpha)))
    (usual, exact), (drawn, found) = results
    assert torch.equal(drawn.image, usual.image) and torch.equal(drawn.alpha, usual.alpha)
    for name, gradient in exact.items():
        torch.testing.assert_close(
            found[name], gradient, rtol=1e-4, atol=1e-5 * float(gradient.abs().max() + 1)
        )


def test_torch_decides_how_many_threads_draw():
    splats, channels, camera = random_scene("plain", 30, (40, 40), 2)
    before = torch.get_num_threads()
    drawn = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            drawn.append(
                CPU.draw(splats.to(torch.float32), channels.float(), camera.to(torch.float32), CONFIG).image
            )
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*drawn)


def test_the_gradient_of_a_gradient_that_is_not_contiguous():
    splats, channels, camera = random_scene("plain", 30, (20, 12), 2)
    scene = splats.to(torch.float32), channels.float()
    draw = both(CPU, camera.to(torch.float32))
    maps = torch.randn(20, 12, 3, generator=seeded(1))
    strided = gradients(draw, *scene, maps.permute(1, 0, 2), torch.zeros(()).expand(12, 20))
    dense = gradients(draw, *scene, maps.permute(1, 0, 2).contiguous(), torch.zeros(12, 20))
    for name, gradient in dense.items():
        assert torch.equal(strided[name], gradient), name


def test_only_channels_are_differentiated_when_nothing_else_is_asked_for():
    splats, channels, camera = random_scene("plain", 30, (20, 12), 2)
    splats, camera = splats.to(torch.float32), camera.to(torch.float32)
    leaf = channels.float().requires_grad_()
    drawn = CPU.draw(splats, leaf, camera, CONFIG)
    (alone,) = torch.autograd.grad(drawn.image.sum(), leaf)
    with_geometry = gradients(
        both(CPU, camera), splats, leaf, torch.ones_like(drawn.image), torch.zeros(12, 20)
    )
    torch.testing.assert_close(alone, with_geometry["channels"])


@pytest.mark.parametrize("broken", ["splats", "channels", "maps"])
def test_other_precisions_are_refused_in_words(broken):
    splats, channels, camera = random_scene("plain", 3, (4, 4), 2)
    single = splats.to(torch.float32)
    with pytest.raises(UnavailableError, match=r"float32 tensors on the CPU, got torch.float64 on cpu; use"):
        if broken == "maps":
            CPU.gather(single, torch.zeros(4, 4, 3).double(), camera, CONFIG)
        else:
            CPU.draw(splats if broken == "splats" else single, channels, camera, CONFIG)
