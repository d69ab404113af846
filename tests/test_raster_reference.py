"""The reference rasterizer against its definition, pixel by pixel in plain Python, and its derivative."""

from dataclasses import replace
from math import exp

import numpy as np
import pytest
import torch
from laws import KINDS, as_seen, outliers, random_camera, random_scene, seeded

from featurefields.camera import Camera
from featurefields.maths.rotations import matrix_from_quat
from featurefields.raster import RasterConfig
from featurefields.raster.reference import ReferenceRasterizer
from featurefields.splats import Splats

CONFIG = RasterConfig()
REFERENCE = ReferenceRasterizer()


def ellipses(
    splats: Splats, camera: Camera, config: RasterConfig
) -> list[tuple[float, int, np.ndarray, np.ndarray]]:
    """(depth, index, mean in pixels, inverse covariance) of every Gaussian in front, nearest first."""
    pose = camera.world_from_camera.numpy()
    focal, centre, size = camera.focal_px.numpy(), camera.centre_px.numpy(), np.array(camera.size)
    found = []
    for i in range(len(splats)):
        x, y, z = pose[:3, :3].T @ (splats.means[i].numpy() - pose[:3, 3])
        if z < config.near:
            continue
        axes = matrix_from_quat(splats.quats[i]).numpy()
        world = axes @ np.diag(splats.scales[i].numpy() ** 2) @ axes.T
        slope = np.array([x / z, y / z])
        room = config.clip_margin * size / 2
        clipped = np.clip(slope, (-room - centre) / focal, (size + room - centre) / focal)
        jacobian = np.array(
            [[focal[0] / z, 0, -focal[0] * clipped[0] / z], [0, focal[1] / z, -focal[1] * clipped[1] / z]]
        )
        turned = jacobian @ pose[:3, :3].T
        covariance = turned @ world @ turned.T + config.blur_px2 * np.eye(2)
        found.append((float(z), i, slope * focal + centre, np.linalg.inv(covariance)))
    return sorted(found, key=lambda entry: entry[:2])


def brute_force(
    splats: Splats, channels: torch.Tensor, camera: Camera, config: RasterConfig
) -> tuple[torch.Tensor, torch.Tensor]:
    """Image (h w c) and alpha (h w) by the words of `featurefields.raster.interface`."""
    entries, opacities, colours = (
        ellipses(splats, camera, config),
        splats.opacities.tolist(),
        channels.numpy(),
    )
    image = np.zeros((camera.height, camera.width, channels.shape[1]))
    covered = np.zeros((camera.height, camera.width))
    for row in range(camera.height):
        for column in range(camera.width):
            light = 1.0
            for _, i, mean, inverse in entries:
                offset = np.array([column + 0.5, row + 0.5]) - mean
                opacity = min(config.alpha_max, opacities[i] * exp(-0.5 * offset @ inverse @ offset))
                if opacity < config.alpha_min:
                    continue
                if light * (1 - opacity) <= config.transmittance_min:
                    break
                image[row, column] += opacity * light * colours[i]
                covered[row, column] += opacity * light
                light *= 1 - opacity
    return torch.from_numpy(image), torch.from_numpy(covered)


@pytest.mark.parametrize("name", KINDS)
def test_drawing_is_its_definition(name):
    splats, channels, camera = random_scene(name, 24, (19, 9), seed=1)
    drawn = REFERENCE.draw(splats, channels, camera, CONFIG)
    image, alpha = brute_force(splats, channels, camera, CONFIG)
    tolerance = 1e-6 if "needles" in name else 1e-9  # inverting the covariance of a needle costs digits
    torch.testing.assert_close(drawn.image, image, atol=tolerance, rtol=0)
    torch.testing.assert_close(drawn.alpha, alpha, atol=tolerance, rtol=0)
    assert (float(alpha.max()) > 0.01) == (name != "invisible")


OTHER_CONSTANTS = {
    "near": 2.5,
    "alpha_min": 0.02,
    "alpha_max": 0.7,
    "blur_px2": 0.35,
    "transmittance_min": 3e-2,
    "clip_margin": 0.1,
}


@pytest.mark.parametrize("name", OTHER_CONSTANTS)
def test_every_constant_is_obeyed(name):
    """The definition with another constant is drawn with that constant, and not with the usual one."""
    kind = "off_screen" if name == "clip_margin" else "plain"
    splats, channels, camera = random_scene(kind, 40, (12, 10), seed=5)
    config = replace(CONFIG, **{name: OTHER_CONSTANTS[name]})
    image, _ = brute_force(splats, channels, camera, config)
    assert outliers(REFERENCE.draw(splats, channels, camera, config).image, image, 1e-9) == 0
    assert outliers(REFERENCE.draw(splats, channels, camera, CONFIG).image, image, 1e-4) > 0.01


def test_a_lone_gaussian_is_where_the_camera_projects_it():
    generator = seeded(2)
    camera = random_camera((64, 48), generator)
    mean = as_seen(torch.tensor([[0.1, -0.05, 2.0]]).double(), camera)
    splats = Splats(
        mean,
        torch.tensor([[1.0, 0, 0, 0]]).double(),
        torch.full((1, 3), -3.5).double(),
        torch.tensor([2.0]).double(),
    )
    alpha = REFERENCE.draw(splats, mean[:, :1], camera, CONFIG).alpha
    centroid = (alpha[..., None] * camera.pixel_centres()).sum((0, 1)) / alpha.sum()
    torch.testing.assert_close(centroid, camera.project(mean)[0][0], atol=0.02, rtol=0)


def test_derivatives_are_exact_pose_and_lens_included():
    """Finite differences of pictures in float64, no Gaussian near a discontinuity of the tests of drawing."""
    splats, channels, camera = random_scene("plain", 4, (8, 8), seed=12, channels=2)
    splats = replace(splats, log_scales=splats.log_scales.clamp(-2.5, -1.5))
    config = RasterConfig(alpha_min=1e-9, transmittance_min=1e-9)

    def draw(means, quats, log_scales, opacity_logits, channels, pose, focal, centre):
        seen = Camera(pose, focal, centre, camera.size)
        drawn = REFERENCE.draw(Splats(means, quats, log_scales, opacity_logits), channels, seen, config)
        return drawn.image, drawn.alpha

    inputs = (
        *splats.tensors().values(), channels, camera.world_from_camera, camera.focal_px, camera.centre_px,
    )  # fmt: skip
    assert torch.autograd.gradcheck(draw, tuple(x.clone().requires_grad_() for x in inputs), atol=1e-6)


@pytest.mark.parametrize("name", ["off_screen", "opaque", "needles", "crowded"])
def test_derivatives_along_a_random_line(name):
    """The slope of a smooth sum of pixels along one random direction in all parameters of an awkward scene."""
    splats, channels, camera = random_scene(name, 12, (10, 8), seed=3)
    config = RasterConfig(alpha_min=1e-12, transmittance_min=1e-12, alpha_max=1.0)
    if name == "opaque":  # the upper bound has a kink: stay below it
        splats = replace(splats, opacity_logits=splats.opacity_logits - 3.0)
    tables = splats.tensors() | {"channels": channels}
    generator = seeded(4)
    steps = {
        key: 0.1 * torch.randn(value.shape, generator=generator).double() for key, value in tables.items()
    }
    weights = torch.randn(8, 10, 3, generator=generator).double()

    def along(t: torch.Tensor) -> torch.Tensor:
        moved = {key: value + t * steps[key] for key, value in tables.items()}
        drawn = REFERENCE.draw(Splats.from_tensors(moved), moved["channels"], camera, config)
        return (drawn.image * weights).sum() + drawn.alpha.sum()

    t = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(along(t), t)
    step = 1e-6
    measured = (along(torch.tensor(step).double()) - along(torch.tensor(-step).double())) / (2 * step)
    torch.testing.assert_close(slope, measured.detach(), rtol=1e-4, atol=1e-6)
