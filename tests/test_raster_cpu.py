"""The CPU kernels against the reference in float64, in value and gradient, on scenes of every kind."""

from dataclasses import replace

import pytest
import torch
from laws import KINDS, assert_mostly_close, gradients, outliers, random_scene, seeded

from featurefields.camera import Camera
from featurefields.errors import UnavailableError
from featurefields.raster import RasterConfig
from featurefields.raster.cpu import CpuRasterizer, contributions, frame
from featurefields.raster.cpu import backend as cpu_backend
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


def pose_gradient(rasterizer, scene, by_image, by_alpha, dtype: torch.dtype) -> torch.Tensor:
    """The gradient (4 4) of <image, by_image> + <alpha, by_alpha> by world_from_camera."""
    splats, channels, camera = scene
    pose = camera.world_from_camera.to(dtype).clone().requires_grad_()
    seen = replace(camera.to(dtype), world_from_camera=pose)
    drawn = rasterizer.draw(splats.to(dtype), channels.to(dtype), seen, CONFIG)
    loss = (drawn.image * by_image.to(dtype)).sum() + (drawn.alpha * by_alpha.to(dtype)).sum()
    (gradient,) = torch.autograd.grad(loss, pose)
    return gradient


POSES = {"near_plane": 5e-3, "long_needles": 5e-4}
"""Where float32 itself loses digits, as in GRADIENTS."""


@pytest.mark.parametrize("name", [name for name in KINDS if name != "invisible"])
def test_gradients_by_the_camera_pose(name):
    for seed in range(3):
        scene = random_scene(name, 40, (33, 26), seed + 20)
        generator = seeded(seed)
        maps = torch.randn(26, 33, 3, generator=generator), torch.randn(26, 33, generator=generator)
        exact = pose_gradient(REFERENCE, scene, *maps, torch.float64)
        found = pose_gradient(CPU, scene, *maps, torch.float32)
        assert found.shape == (4, 4) and found.dtype == torch.float32 and not found[3].any()
        scale, tolerance = float(exact.abs().max()), POSES.get(name, 1e-4)
        assert scale > 0 and float((found.double() - exact).abs().max()) <= tolerance * scale
        assert float((1.01 * found.double() - exact).abs().max()) > tolerance * scale


def test_nothing_visible_gives_no_gradient_by_the_pose():
    scene = random_scene("invisible", 20, (9, 7), 1)
    assert not pose_gradient(CPU, scene, torch.ones(7, 9, 3), torch.ones(7, 9), torch.float32).any()


@pytest.mark.parametrize("chunk", [1, 64, contributions.CHUNK])
@pytest.mark.parametrize("name", ["plain", "crowded", "off_screen"])
def test_gradients_have_the_same_bits_whatever_is_kept(name, chunk, monkeypatch):
    splats, channels, camera = random_scene(name, 80, (50, 37), 3, channels=19)
    scene, camera = (splats.to(torch.float32), channels.float()), camera.to(torch.float32)
    maps = torch.randn(37, 50, 19, generator=seeded(1)), torch.randn(37, 50, generator=seeded(2))
    wanted = gradients(both(CPU, camera), *scene, *maps)
    monkeypatch.setattr(contributions, "CHUNK", chunk)
    monkeypatch.setattr(contributions, "_scratch", type(contributions._scratch)())
    for budget in (0, 2**17, 2**33):
        found = gradients(both(CpuRasterizer(budget_bytes=budget), camera), *scene, *maps)
        for key, gradient in wanted.items():
            assert torch.equal(found[key], gradient), (budget, key)


@pytest.fixture
def made(monkeypatch) -> list[contributions.Contributions]:
    """The contribution matrices that drawing makes."""
    seen: list[contributions.Contributions] = []

    class Seen(contributions.Contributions):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            seen.append(self)

    monkeypatch.setattr(cpu_backend, "Contributions", Seen)
    return seen


def test_contributions_are_kept_only_for_a_derivative(made):
    splats, channels, camera = random_scene("plain", 60, (40, 30), 3)
    splats, channels, camera = splats.to(torch.float32), channels.float(), camera.to(torch.float32)
    CPU.draw(splats, channels, camera, CONFIG)
    CPU.gather(splats, torch.ones(30, 40, 3), camera, CONFIG)
    assert [matrix.nbytes for matrix in made] == [0, 0]
    CPU.draw(splats, channels.clone().requires_grad_(), camera, CONFIG)
    CPU.draw(splats.each(lambda tensor: tensor.clone().requires_grad_()), channels, camera, CONFIG)
    assert min(matrix.nbytes for matrix in made[2:]) > 10_000
    CpuRasterizer(budget_bytes=0).draw(splats, channels.clone().requires_grad_(), camera, CONFIG)
    assert made[4].nbytes == 0


def test_without_gradients_around_it_nothing_is_kept_of_splats_that_are_fitted(made):
    splats, channels, camera = random_scene("plain", 60, (40, 30), 3)
    fitted = splats.to(torch.float32).each(lambda tensor: tensor.clone().requires_grad_())
    with torch.no_grad():
        drawn = CPU.draw(fitted, channels.float(), camera.to(torch.float32), CONFIG)
    assert not drawn.image.requires_grad and [matrix.nbytes for matrix in made] == [0]


def test_a_derivative_twice():
    """What is kept is good for a second derivative of the same picture."""
    splats, channels, camera = random_scene("plain", 40, (20, 12), 2)
    leaf = channels.float().requires_grad_()
    drawn = CPU.draw(splats.to(torch.float32), leaf, camera.to(torch.float32), CONFIG)
    first, second = (torch.autograd.grad(drawn.image.sum(), leaf, retain_graph=True)[0] for _ in range(2))
    assert first.any() and torch.equal(first, second)
