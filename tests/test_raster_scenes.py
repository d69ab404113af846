"""The CPU kernels against the reference in float64 on hundreds of random scenes, any width, and a fitted scene."""

import math

import numpy as np
import pytest
import torch
from laws import CONFIG, KINDS, gradients, random_scene, seeded
from test_raster_cpu import GRADIENTS, VALUES, both, check_gradients, check_values

from featurefields.camera import Camera
from featurefields.raster.cpu import CpuRasterizer
from featurefields.raster.interface import Raster
from featurefields.raster.reference import ReferenceRasterizer
from featurefields.splats import Splats

CPU, REFERENCE = CpuRasterizer(), ReferenceRasterizer()
CHANNELS = [1, 2, 3, 4, 5, 7, 8, 12, 13, 16, 17, 20, 31, 32, 33, 48, 64, 100, 128, 257, 512]
LONGEST_PX, MOST = 70, 300
SCENES = 312  # 13 kinds times 24: every kind meets every width, because 13 and 21 have no common divisor


def scene_of(seed: int):
    """Name, and a scene whose size, number of Gaussians and of channels depend on the seed."""
    names, generator = list(KINDS), seeded(seed + 1000)
    name, channels = names[seed % len(names)], CHANNELS[seed % len(CHANNELS)]
    width, height = (int(side) for side in torch.randint(1, LONGEST_PX + 1, (2,), generator=generator))
    count = round(math.exp(float(torch.rand(1, generator=generator)) * math.log(MOST)))
    count = min(count, max(12, 4000 // channels))
    return name, random_scene(name, count, (width, height), seed, channels=channels)


def test_the_scenes_are_of_every_kind_width_and_aspect():
    assert math.gcd(len(KINDS), len(CHANNELS)) == 1 and len(KINDS) * len(CHANNELS) <= SCENES
    scenes = [scene_of(seed) for seed in range(SCENES)]
    assert {name for name, _ in scenes} == set(KINDS)
    assert {channels.shape[1] for _, (_, channels, _) in scenes} == set(CHANNELS)
    counts = [len(splats) for _, (splats, _, _) in scenes]
    assert min(counts) <= 2 and max(counts) >= 200
    sizes = [camera.size for _, (_, _, camera) in scenes]
    assert {side % 4 for size in sizes for side in size} == {0, 1, 2, 3}
    assert min(w / h for w, h in sizes) < 0.1 and max(w / h for w, h in sizes) > 10


@pytest.mark.parametrize("seed", range(SCENES))
def test_a_random_scene(seed):
    name, scene = scene_of(seed)
    check_values(scene, tolerance=VALUES.get(name, 1e-5))
    check_gradients(scene, tolerance=GRADIENTS.get(name, 1e-4), seed=seed)


def one_pixel_left_out(drawn: Raster) -> Raster:
    brightest = drawn.alpha.argmax()
    keep = torch.ones(drawn.alpha.numel())
    keep[brightest] = 0
    keep = keep.reshape(drawn.alpha.shape)
    return Raster(drawn.image * keep[..., None], drawn.alpha * keep)


def first_channel_twice(drawn: Raster) -> Raster:
    channels = drawn.image.unbind(-1)
    return Raster(torch.stack([*channels[:-1], channels[0]], dim=-1), drawn.alpha)


def a_little_too_bright(drawn: Raster) -> Raster:
    return Raster(1.0003 * drawn.image, drawn.alpha)


def mirrored(drawn: Raster) -> Raster:
    return Raster(drawn.image.flip(1), drawn.alpha.flip(1))


@pytest.mark.parametrize("damage", [one_pixel_left_out, first_channel_twice, a_little_too_bright, mirrored])
@pytest.mark.parametrize("seed", [13, 26, 39, 52])
def test_a_picture_that_is_slightly_wrong_would_be_noticed(damage, seed, monkeypatch):
    right = CpuRasterizer.draw
    monkeypatch.setattr(CpuRasterizer, "draw", lambda *arguments: damage(right(*arguments)))
    name, scene = scene_of(seed)
    assert name == "plain" and scene[1].shape[1] > 1
    with pytest.raises(AssertionError, match="off by more than"):
        check_values(scene)


@pytest.mark.parametrize("channels", range(1, 41))
def test_every_width(channels):
    """Values, gradients and lifting; 21 x 18 pixels have blocks that stick out on both sides."""
    scene = random_scene("plain", 35, (21, 18), channels, channels=channels)
    check_values(scene)
    check_gradients(scene, seed=channels)
    splats, _, camera = scene
    maps = torch.randn(18, 21, channels, generator=seeded(channels)).double()
    wanted = REFERENCE.gather(splats, maps, camera, CONFIG)
    found = CPU.gather(splats.to(torch.float32), maps.float(), camera.to(torch.float32), CONFIG)
    torch.testing.assert_close(found.double(), wanted, atol=2e-4, rtol=1e-4)


@pytest.fixture(scope="module")
def fox(shared_data) -> dict[str, torch.Tensor]:
    """A scene fitted to photographs: 50 000 Gaussians."""
    path = shared_data / "workloads" / "fox50k_256.npz"
    if not path.is_file():
        pytest.skip(f"no fitted scene at {path}")
    with np.load(path) as table:
        return {key: torch.from_numpy(table[key]) for key in table.files}


def fitted(table: dict[str, torch.Tensor], view: int) -> tuple[Splats, torch.Tensor, Camera]:
    """Splats, colours (n 3) and the camera of a view, in float32."""
    logits = torch.logit(table["op"].double()).float()
    splats = Splats(table["means"], table["quats"], table["scales"].log(), logits)
    pose, lens = torch.linalg.inv(table["views"][view].double()).float(), table["K"]
    camera = Camera(pose, torch.stack([lens[0, 0], lens[1, 1]]), lens[:2, 2], (256, 256))
    return splats, table["col"], camera


def gaps(found: Raster, splats: Splats, colours: torch.Tensor, camera: Camera) -> torch.Tensor:
    """Largest difference at every pixel (h w) from the reference in float64."""
    with torch.no_grad():
        wanted = REFERENCE.draw(splats.to(torch.float64), colours.double(), camera.to(torch.float64), CONFIG)
    image = (found.image.double() - wanted.image).abs().amax(-1)
    return torch.maximum(image, (found.alpha.double() - wanted.alpha).abs())


@pytest.mark.parametrize("view", [14, 3, 40])
def test_a_fitted_scene_looks_the_same(fox, view):
    splats, colours, camera = fitted(fox, view)
    drawn = CPU.draw(splats, colours, camera, CONFIG)
    assert float(drawn.alpha.mean()) > 0.9
    gap = gaps(drawn, splats, colours, camera)
    assert float(gap.mean()) < 1e-6
    assert float((gap > 1e-4).double().mean()) <= 1e-3
    nudged = Splats(splats.means, splats.quats, splats.log_scales + 1e-5, splats.opacity_logits)
    assert float(gaps(CPU.draw(nudged, colours, camera, CONFIG), splats, colours, camera).mean()) > 1e-6


def test_a_fitted_scene_has_the_same_gradients(fox):
    splats, colours, camera = fitted(fox, 14)
    by_image, by_alpha = (
        torch.randn(256, 256, 3, generator=seeded(1)),
        torch.randn(256, 256, generator=seeded(2)),
    )
    exact = gradients(
        both(REFERENCE, camera.to(torch.float64)),
        splats.to(torch.float64),
        colours.double(),
        by_image,
        by_alpha,
    )
    found = gradients(both(CPU, camera), splats, colours, by_image, by_alpha)
    for name, gradient in exact.items():
        length = float(gradient.norm())
        assert length > 0 and float((found[name].double() - gradient).norm()) < 1e-3 * length, name
        longer = 1.002 * found[name].double()
        assert float((longer - gradient).norm()) > 1e-3 * length, name
