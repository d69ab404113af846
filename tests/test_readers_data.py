"""Real captures: what the geometry says is what the photos show."""

from pathlib import Path

import pytest
import torch

from featurefields.camera import Camera
from featurefields.readers import read_scene
from featurefields.scene import Scene


def scene_of(shared_data: Path, name: str, **options) -> Scene:
    if not (shared_data / name).is_dir():
        pytest.skip(f"no scene '{name}' in {shared_data}")
    return read_scene(shared_data / name, **options)


def colour_error(scene: Scene, shift: float = 0.0, every: int = 17) -> float:
    """Median difference of seed points' colours from the pixels they project onto, `shift` pixels away."""
    assert scene.points is not None
    errors = []
    for view in scene.views[::every]:
        pixels, depth = view.camera.project(scene.points.positions)
        pixels = pixels + shift
        inside = (depth > 0) & (pixels >= 0).all(-1) & (pixels < torch.tensor(view.camera.size)).all(-1)
        x, y = pixels[inside].long().unbind(-1)
        errors.append((view.picture.image()[y, x] - scene.points.colours[inside]).abs().mean(-1))
    return float(torch.cat(errors).median())


@pytest.mark.parametrize(
    ("name", "downscale"),
    [
        ("fox", 1),
        ("fox", 3),
        ("apc-shelf", 1),
        ("apc-shelf", 2),
        ("icl-livingroom", 2),
        ("llff-fern", 2),
    ],
)
def test_seed_points_have_the_colour_of_their_pixels(shared_data: Path, name: str, downscale: int) -> None:
    scene = scene_of(shared_data, name, downscale=downscale)
    here, chance = colour_error(scene), colour_error(scene, shift=40 / downscale)
    assert here < 0.7 * chance, f"{here:.3f} at the points, {chance:.3f} 40 pixels away"


def sampled(picture: torch.Tensor, camera: Camera, pixels: torch.Tensor, depth: torch.Tensor) -> tuple:
    inside = (depth > 0) & (pixels >= 0).all(-1) & (pixels < torch.tensor(camera.size)).all(-1)
    x, y = pixels[inside].long().unbind(-1)
    return inside, picture[y, x]


@pytest.mark.parametrize("name", ["tabletop-gloss", "apc-shelf"])
@pytest.mark.parametrize("normalise", [True, False])
def test_depth_maps_agree_between_views(shared_data: Path, name: str, normalise: bool) -> None:
    """Points unprojected from one view's depth lie at the other view's depth, unless hidden there."""
    scene = scene_of(shared_data, name, normalise=normalise)
    first = scene.views[0]
    second = min(
        scene.views[1:], key=lambda view: float((view.camera.position - first.camera.position).norm())
    )
    depth, other = first.picture.depth(), second.picture.depth()
    assert depth is not None and other is not None
    points = first.camera.unproject(depth)[depth > 0]
    pixels, expected = second.camera.project(points)
    inside, found = sampled(other, second.camera, pixels, expected)
    known = found > 0
    error = (found[known] / expected[inside][known] - 1).abs()
    assert len(error) > 5000 and float(error.median()) < 0.01
    _, doubled = second.camera.project(points * 1.1)
    assert float((found[known] / doubled[inside][known] - 1).abs().median()) > 0.02, "another unit would show"


def test_layers_of_the_synthetic_scene(shared_data: Path) -> None:
    scene = scene_of(shared_data, "tabletop-gloss", downscale=2)
    assert (len(scene.split("train")), len(scene.split("test"))) == (60, 12)
    picture = scene.views[0].picture
    for name, channels in {"diffuse": 3, "normal": 3, "albedo": 3, "roughness": 1, "instance": 1}.items():
        layer = picture.layer(name)
        assert layer is not None and layer.shape == (96, 96, channels), name
    ids = picture.layer("instance")
    assert ids is not None and torch.equal(ids, ids.round()) and len(ids.unique()) > 5


def test_masks_and_splits_of_the_robot_scene(shared_data: Path) -> None:
    scene = scene_of(shared_data, "apc-shelf")
    mask = scene.views[0].picture.mask()
    assert mask is not None and 0.5 < float(mask.float().mean()) < 1.0
    assert len(scene.split("test")) == 2


def test_seed_points_of_the_museum_object_fall_on_its_masks(shared_data: Path) -> None:
    scene = scene_of(shared_data, "mary-rose", downscale=2)
    assert scene.points is not None
    for view in scene.views[::20]:
        mask = view.picture.layer("instance")
        assert mask is not None
        pixels, depth = view.camera.project(scene.points.positions)
        _, inside = sampled(mask[..., 0], view.camera, pixels, depth)
        _, beside = sampled(mask[..., 0], view.camera, pixels + 40, depth)
        assert float((inside > 0).float().mean()) > 0.9 > float((beside > 0).float().mean())
