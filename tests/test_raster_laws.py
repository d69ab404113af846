"""Laws of drawing that every backend of FF_BACKENDS obeys."""

from dataclasses import replace

import pytest
import torch
from laws import CONFIG, KINDS, moved_camera, random_scene, random_similarity, seeded

from featurefields.camera import Camera
from featurefields.raster import Rasterizer
from featurefields.raster.adjoint import gather_by_autograd
from featurefields.splats import Splats, concatenate

SIZES = [(1, 1), (7, 5), (16, 16), (33, 50)]


def single(name: str, n: int, size: tuple[int, int], seed: int, device, **options):
    """A random scene in float32 on the backend's device."""
    splats, channels, camera = random_scene(name, n, size, seed, **options)
    return (
        splats.to(torch.float32).to(device),
        channels.float().to(device),
        camera.to(torch.float32).to(device),
    )


def test_backends_are_rasterizers(backend, backend_name):
    assert isinstance(backend, Rasterizer)
    assert backend.name == backend_name


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", KINDS)
def test_gather_is_the_transpose_of_draw(backend, device, name, size):
    """<draw(c), m> = <c, gather(m)>"""
    splats, channels, camera = single(name, 40, size, 3, device, channels=5)
    maps = torch.randn(size[1], size[0], 5, generator=seeded(4)).to(device)
    image = backend.draw(splats, channels, camera, CONFIG).image.double()
    gathered = backend.gather(splats, maps, camera, CONFIG)
    assert gathered.shape == channels.shape and gathered.dtype == torch.float32
    assert not gathered.requires_grad
    left, right = (image * maps.double()).sum(), (channels.double() * gathered.double()).sum()
    size_of_terms = float((image * maps.double()).abs().sum()) + 1e-6
    assert abs(float(left - right)) < 1e-5 * size_of_terms
    nudged = gathered.double() * (1 + 1e-2 * channels.double().sign() * gathered.sign())
    assert not gathered.any() or abs(float(left - (channels.double() * nudged).sum())) > 1e-5 * size_of_terms


@pytest.mark.parametrize("channels", [1, 3, 15, 16, 17, 40])
def test_gather_is_the_gradient_by_channels(backend, device, channels):
    splats, _, camera = single("plain", 50, (21, 18), channels, device)
    maps = torch.randn(18, 21, channels, generator=seeded(4)).to(device)
    gathered = backend.gather(splats, maps, camera, CONFIG)
    torch.testing.assert_close(
        gathered, gather_by_autograd(backend, splats, maps, camera, CONFIG), atol=1e-5, rtol=1e-5
    )


def test_gather_works_without_gradients_around_it(backend, device):
    splats, _, camera = single("plain", 10, (9, 9), 1, device)
    with torch.no_grad():
        gathered = backend.gather(splats, torch.ones(9, 9, 3, device=device), camera, CONFIG)
    assert gathered.any()
    splats = splats.each(lambda tensor: tensor.clone().requires_grad_())
    torch.testing.assert_close(
        backend.gather(splats, torch.ones(9, 9, 3, device=device), camera, CONFIG), gathered
    )


@pytest.mark.parametrize("name", KINDS)
def test_drawing_is_linear_in_its_channels(backend, device, name):
    splats, x, camera = single(name, 40, (25, 14), 6, device)
    y = torch.randn(x.shape, generator=seeded(2)).to(device)
    draw = lambda channels: backend.draw(splats, channels, camera, CONFIG).image  # noqa: E731
    torch.testing.assert_close(draw(0.3 * x - 2 * y), 0.3 * draw(x) - 2 * draw(y), atol=2e-5, rtol=0)
    assert not draw(torch.zeros_like(x)).any()


@pytest.mark.parametrize("name", KINDS)
def test_alpha_is_the_picture_of_ones(backend, device, name):
    splats, channels, camera = single(name, 40, (25, 14), 7, device)
    drawn = backend.draw(splats, torch.ones_like(channels), camera, CONFIG)
    torch.testing.assert_close(drawn.image, drawn.alpha[..., None].expand(-1, -1, 3), atol=1e-5, rtol=0)
    assert float(drawn.alpha.min()) >= 0 and float(drawn.alpha.max()) <= 1
    assert drawn.alpha.any() == (name != "invisible")


@pytest.mark.parametrize("name", ["plain", "crowded", "opaque"])
def test_channels_do_not_know_of_each_other(backend, device, name):
    splats, channels, camera = single(name, 60, (25, 14), 8, device, channels=19)
    together = backend.draw(splats, channels, camera, CONFIG)
    for chosen in ([0], [17, 3], list(range(1, 18))):
        alone = backend.draw(splats, channels[:, chosen], camera, CONFIG)
        torch.testing.assert_close(alone.image, together.image[..., chosen], atol=1e-5, rtol=0)
        torch.testing.assert_close(alone.alpha, together.alpha, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", KINDS)
def test_the_same_bits_twice(backend, device, name):
    splats, channels, camera = single(name, 80, (40, 30), 9, device)
    maps = torch.randn(30, 40, 3, generator=seeded(3)).to(device)
    first, second = (backend.draw(splats, channels, camera, CONFIG) for _ in range(2))
    assert torch.equal(first.image, second.image) and torch.equal(first.alpha, second.alpha)
    if backend.name != "gsplat":  # its backward pass adds atomically
        assert torch.equal(
            backend.gather(splats, maps, camera, CONFIG), backend.gather(splats, maps, camera, CONFIG)
        )


@pytest.mark.parametrize("seed", range(4))
def test_moving_world_and_camera_together_changes_nothing(backend, device, seed):
    splats, channels, camera = random_scene("plain", 50, (30, 22), seed)
    move = random_similarity(seeded(seed + 50))
    there = splats.moved(move), channels, moved_camera(camera, move)
    config = replace(CONFIG, near=CONFIG.near * move.scale)
    dtype = torch.float64 if backend.name == "reference" else torch.float32
    tolerance = 1e-9 if dtype == torch.float64 else 2e-4
    pictures = [
        backend.draw(s.to(dtype).to(device), c.to(device, dtype), view.to(dtype).to(device), constants)
        for (s, c, view), constants in (((splats, channels, camera), CONFIG), (there, config))
    ]
    torch.testing.assert_close(pictures[1].image, pictures[0].image, atol=tolerance, rtol=0)
    torch.testing.assert_close(pictures[1].alpha, pictures[0].alpha, atol=tolerance, rtol=0)
    astray = backend.draw(
        there[0].to(dtype).to(device), channels.to(device, dtype), camera.to(dtype).to(device), config
    )
    assert float((astray.alpha - pictures[0].alpha).abs().max()) > 0.05


@pytest.mark.parametrize("name", ["plain", "crowded", "opaque", "off_screen"])
def test_the_order_of_the_table_does_not_matter(backend, device, name):
    splats, channels, camera = single(name, 100, (33, 20), 10, device)
    shuffled = torch.randperm(100, generator=seeded(1)).to(device)
    maps = torch.randn(20, 33, 3, generator=seeded(3)).to(device)
    usual = backend.draw(splats, channels, camera, CONFIG)
    other = backend.draw(splats.select(shuffled), channels[shuffled], camera, CONFIG)
    torch.testing.assert_close(other.image, usual.image, atol=1e-6, rtol=0)
    gathered = backend.gather(splats, maps, camera, CONFIG)
    torch.testing.assert_close(
        backend.gather(splats.select(shuffled), maps, camera, CONFIG), gathered[shuffled], atol=1e-6, rtol=0
    )


def test_of_gaussians_at_the_same_depth_the_first_is_in_front(backend, device):
    splats, channels, camera = single("plain", 40, (24, 24), 11, device, turned=False)
    means = splats.means.clone()
    means[:, :2] *= (2.0 / means[:, 2])[:, None]
    means[:, 2] = 2.0
    tied = replace(splats, means=means)
    nearer = replace(
        splats, means=means + torch.arange(40, device=device)[:, None] * means.new_tensor([0, 0, 1e-6])
    )
    found = backend.draw(tied, channels, camera, CONFIG).image
    torch.testing.assert_close(found, backend.draw(nearer, channels, camera, CONFIG).image, atol=1e-3, rtol=0)
    last_first = torch.arange(39, -1, -1, device=device)
    reversed_table = backend.draw(tied.select(last_first), channels[last_first], camera, CONFIG).image
    assert float((reversed_table - found).abs().max()) > 0.1


def test_what_is_behind_an_opaque_gaussian_is_hidden(backend, device):
    wall = Splats(
        torch.tensor([[0.0, 0, 1], [0, 0, 2], [0, 0, 3]]),
        torch.tensor([[1.0, 0, 0, 0]]).expand(3, 4),
        torch.full((3, 3), 3.0),
        torch.tensor([12.0, 12.0, 12.0]),
    ).to(device)
    camera = Camera(torch.eye(4), torch.tensor([8.0, 8.0]), torch.tensor([4.0, 4.0]), (8, 8)).to(device)
    image = backend.draw(wall, torch.eye(3, device=device), camera, CONFIG).image
    assert float(image[..., 0].min()) > 0.99
    assert float(image[..., 1:].max()) < 2e-3


def test_no_gaussians_and_no_visible_ones_are_an_empty_picture(backend, device):
    splats, channels, camera = single("invisible", 5, (9, 7), 1, device)
    for table, values in ((splats, channels), (splats.select(torch.arange(0)), channels[:0])):
        values = values.clone().requires_grad_()
        drawn = backend.draw(table, values, camera, CONFIG)
        assert drawn.image.shape == (7, 9, 3) and not drawn.image.any()
        assert drawn.alpha.shape == (7, 9) and not drawn.alpha.any()
        gathered = backend.gather(table, torch.ones(7, 9, 3, device=device), camera, CONFIG)
        assert gathered.shape == values.shape and not gathered.any()


def test_two_halves_of_a_scene_one_behind_the_other(backend, device):
    """Over-compositing: front + (1 - alpha of front) * back."""
    front, front_channels, camera = single("plain", 25, (22, 17), 12, device, turned=False)
    back, back_channels, _ = single("plain", 25, (22, 17), 13, device, turned=False)
    front = replace(front, opacity_logits=front.opacity_logits - 2.0)
    back = replace(back, means=3 * back.means, opacity_logits=back.opacity_logits - 2.0)
    drawn = [
        backend.draw(table, channels, camera, CONFIG)
        for table, channels in (
            (front, front_channels),
            (back, back_channels),
            (concatenate([back, front]), torch.cat([back_channels, front_channels])),
        )
    ]
    wanted = drawn[0].image + (1 - drawn[0].alpha)[..., None] * drawn[1].image
    assert float(drawn[1].alpha.max()) > 0.2
    torch.testing.assert_close(drawn[2].image, wanted, atol=5e-4, rtol=0)
