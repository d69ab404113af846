"""The feed-forward geometry network: laws of the sweep, the scale, the number and order of views; its provider."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from featurefields.camera import Camera
from featurefields.errors import FileFormatError, FittingError, UnavailableError, WriteError
from featurefields.lifting.geometry import Given, PosedPicture, choose_provider
from featurefields.lifting.lifter.encoder import to_rows
from featurefields.lifting.lifter.expectation import expected_place
from featurefields.lifting.lifter.losses import plane_loss, reduced, truth_of
from featurefields.lifting.lifter.network import Lifter
from featurefields.lifting.lifter.provider import (
    LifterProvider,
    ProviderConfig,
    reduced_camera,
    shipped_weights,
)
from featurefields.lifting.lifter.refine import upsampled
from featurefields.lifting.lifter.sweep import positions, sweep_of, warped
from featurefields.lifting.lifter.volume import cost_volume
from featurefields.lifting.lifter.weights import load_lifter, save_lifter

NEAR, FAR = 1.0, 4.0


def camera_at(
    position: tuple[float, float, float], turn_deg: float = 0.0, size: tuple[int, int] = (64, 48)
) -> Camera:
    """Looking along +z from `position`, turned about y."""
    angle = torch.deg2rad(torch.tensor(turn_deg))
    pose = torch.eye(4)
    pose[0, 0] = pose[2, 2] = torch.cos(angle)
    pose[0, 2], pose[2, 0] = torch.sin(angle), -torch.sin(angle)
    pose[:3, 3] = torch.tensor(position)
    return Camera(
        pose, torch.tensor([70.0, 72.0]), torch.tensor([size[0] / 2 - 1.5, size[1] / 2 + 1.0]), size
    )


def pattern(points: torch.Tensor) -> torch.Tensor:
    """Smooth colours (… 3) of world points."""
    waves = torch.tensor([[3.1, 1.3, 0.4], [-1.2, 2.7, 0.9], [2.2, -2.1, 1.1]])
    return 0.5 + 0.45 * torch.sin(points @ waves.T)


def seen_plane(camera: Camera, z: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Picture (3 h w) and depth (h w) of the plane at world height z, coloured by `pattern`."""
    directions = camera.directions()
    distance = (z - camera.position[2]) / directions[..., 2]
    points = camera.position + distance[..., None] * directions
    depth = (points - camera.position) @ camera.forward
    return pattern(points).permute(2, 0, 1), depth


def posed_scene(
    size: tuple[int, int] = (64, 48), *, scale: float = 1.0, count: int = 4
) -> list[PosedPicture]:
    """Pictures of a plane, the world `scale` times as large."""
    places = [
        ((0.0, 0.0, 0.0), 0.0),
        ((0.3, 0.05, 0.0), -6.0),
        ((-0.25, 0.1, 0.05), 5.0),
        ((0.1, -0.2, 0.1), 0.0),
    ]
    pictures = []
    for number, (position, turn) in enumerate(places[:count]):
        camera = camera_at(position, turn, size)
        picture, _ = seen_plane(camera, 2.0)
        pose = camera.world_from_camera.clone()
        pose[:3, 3] *= scale
        pictures.append(
            PosedPicture(
                str(number), replace(camera, world_from_camera=pose), picture, NEAR * scale, FAR * scale
            )
        )
    return pictures


@pytest.fixture(scope="module")
def lifter() -> Lifter:
    """Untrained, but with heads that say something."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = Lifter()
        for parameter in network.refine.parameters():
            torch.nn.init.normal_(parameter, std=0.05)
    return network.eval()


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_warp_at_the_right_depth_leaves_no_residual(stride: int) -> None:
    reference, source = camera_at((0.0, 0.0, 0.0)), camera_at((0.3, 0.05, -0.1), -8.0)
    sweep = sweep_of(reference, source, stride, NEAR)
    small = [
        replace(c.resized((64 // stride, 48 // stride)), size=(64 // stride, 48 // stride))
        for c in (reference, source)
    ]
    (shown, depth), (other, _) = (seen_plane(camera, 2.0) for camera in small)
    residual = {}
    for wrong in (1.0, 1.1):
        values, inside = warped(other[None], sweep, (NEAR / (depth * wrong))[None])
        assert inside.float().mean() > 0.5
        residual[wrong] = (values[0].permute(2, 0, 1) - shown).abs()[:, inside[0]].mean()
    assert residual[1.0] < 0.02 * stride and residual[1.1] > 3 * residual[1.0]


def test_positions_are_those_of_projection() -> None:
    reference, source = camera_at((0.2, 0.1, 0.0), 4.0), camera_at((0.5, -0.1, 0.2), -10.0)
    depth = torch.linspace(1.2, 3.0, 48 * 64).reshape(48, 64)
    expected, _ = source.project(reference.unproject(depth).reshape(-1, 3))
    found, _ = positions(sweep_of(reference, source, 1, NEAR), (NEAR / depth)[None])
    torch.testing.assert_close(found.reshape(-1, 2), expected, rtol=1e-4, atol=1e-3)


def test_what_lies_behind_a_source_is_not_seen() -> None:
    reference, source = camera_at((0.0, 0.0, 0.0)), camera_at((0.0, 0.0, 3.0))
    _, inside = positions(sweep_of(reference, source, 1, NEAR), torch.full((1, 48, 64), NEAR / 2.0))
    assert not inside.any()


def test_scaling_the_world_scales_depth(lifter: Lifter) -> None:
    provider = LifterProvider(lifter, ProviderConfig(surface=0.0, farthest=-9.0))
    first = provider(posed_scene())
    for scale in (4.0, 0.01):
        for small, large in zip(first, provider(posed_scene(scale=scale)), strict=True):
            torch.testing.assert_close(large.depth, small.depth * scale, rtol=2e-3, atol=0)
            torch.testing.assert_close(large.confidence, small.confidence, rtol=0, atol=5e-3)


def test_order_of_sources_does_not_matter_and_any_number_is_welcome(lifter: Lifter) -> None:
    pictures = posed_scene()
    with torch.no_grad():
        posed = [lifter.encode(p.picture[None], [p.camera])[0] for p in pictures]
        forward = lifter(posed[0], posed[1:], NEAR, FAR)
        backward = lifter(posed[0], posed[:0:-1], NEAR, FAR)
        torch.testing.assert_close(forward.place, backward.place, rtol=1e-3, atol=1e-2)
        for count in (1, 2, 3):
            assert lifter(posed[0], posed[1 : 1 + count], NEAR, FAR).place.isfinite().all()
        twice = lifter(posed[0], [posed[1], posed[1]], NEAR, FAR).place
        torch.testing.assert_close(twice, lifter(posed[0], [posed[1]], NEAR, FAR).place, rtol=1e-2, atol=5e-2)


def test_the_volume_peaks_at_the_plane_that_is_there() -> None:
    """With waves of the pictures' own colours as features, without anything learned."""
    pictures = posed_scene(count=3)
    cameras = [replace(p.camera.resized((32, 24)), size=(32, 24)) for p in pictures]
    shown = [seen_plane(camera, 2.0)[0][None] for camera in cameras]
    maps = [
        torch.cat([wave(f * x) for wave in (torch.sin, torch.cos) for f in (3, 6, 9, 12)], 1) for x in shown
    ]
    lifter = Lifter()
    sweeps = [sweep_of(pictures[0].camera, p.camera, 2, NEAR) for p in pictures[1:]]
    nu = lifter.nu(torch.arange(48.0), NEAR, FAR)[:, None, None].expand(-1, 24, 32)
    with torch.no_grad():
        volume, seen = cost_volume(to_rows(maps[0])[0], maps[1:], sweeps, nu, lifter.visibility)
    assert volume.shape == (1, 9, 48, 24, 32) and len(seen) == 2
    best = volume[0, :8].sum(0)[:, 4:-4, 8:-8].argmax(0).float()
    right = lifter.place(seen_plane(cameras[0], 2.0)[1], NEAR, FAR)[4:-4, 8:-8]
    assert (best - right).abs().median() < 3.0, "a plane is a sixth of a pixel here"
    assert (best - lifter.place(torch.tensor(2.6), NEAR, FAR)).abs().median() > 3.0


def test_places_and_inverse_depths_are_inverse_to_each_other() -> None:
    lifter, depth = Lifter(), torch.tensor([1.0, 1.7, 4.0])
    place = lifter.place(depth, NEAR, FAR)
    assert place.tolist()[0] == pytest.approx(47) and place.tolist()[2] == pytest.approx(0)
    torch.testing.assert_close(NEAR / lifter.nu(place, NEAR, FAR), depth)


def test_expectation_ignores_other_maxima() -> None:
    logits = torch.full((20, 1, 1), -20.0)
    logits[4], logits[5], logits[15] = 3.0, 3.0, 2.9
    estimate = expected_place(logits)
    assert estimate.place.item() == pytest.approx(4.5, abs=1e-3)
    assert 0.6 < estimate.peak.item() < 0.75 and 0 < estimate.entropy.item() < 0.5


def test_upsampling_is_convex_and_leaves_constants() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(36, 5, 6, generator=generator)
    assert torch.allclose(upsampled(torch.full((5, 6), 2.5), logits), torch.tensor(2.5))
    coarse = torch.rand(5, 6, generator=generator)
    fine = upsampled(coarse, logits)
    assert fine.shape == (10, 12) and coarse.min() <= fine.min() and fine.max() <= coarse.max()


def test_truth_is_reduced_at_the_centres_of_blocks() -> None:
    lifter = Lifter()
    x, y = torch.meshgrid(torch.arange(32.0) + 0.5, torch.arange(32.0) + 0.5, indexing="xy")
    nu = 0.3 + 0.004 * x + 0.002 * y
    truth = truth_of(lifter, 1 / nu, NEAR, FAR, (32, 32))
    for stride in (2, 4):
        place, weight = reduced(truth, stride)
        centre = 0.3 + 0.004 * (stride * torch.arange(32 // stride) + stride / 2) + 0.002 * stride / 2
        torch.testing.assert_close(place[0], lifter.place(1 / centre, NEAR, FAR), rtol=1e-4, atol=1e-4)
        assert (weight == 1).all()


def test_plane_loss_is_least_at_the_truth() -> None:
    position, weight = torch.tensor([[3.25]]), torch.ones(1, 1)
    logits = torch.full((8, 1, 1), -30.0)
    logits[3], logits[4] = torch.log(torch.tensor(0.75)), torch.log(torch.tensor(0.25))
    best = plane_loss(logits, position, weight)
    for shifted in (logits.roll(1, 0), logits + torch.eye(8)[2][:, None, None]):
        assert plane_loss(shifted, position, weight) >= best
    assert plane_loss(logits, torch.tensor([[9.5]]), weight) == 0, "outside the planes nothing is asked"


@pytest.mark.parametrize("size", [(64, 48), (70, 41)])
def test_provider_answers_at_the_size_of_the_picture(lifter: Lifter, size: tuple[int, int]) -> None:
    pictures, seen = posed_scene(size), []
    found = LifterProvider(lifter, ProviderConfig(surface=0.0, farthest=-9.0))(
        pictures, on_view=lambda: seen.append(1)
    )
    assert len(found) == len(seen) == 4
    for geometry in found:
        assert geometry.depth.shape == geometry.confidence.shape == (size[1], size[0])
        assert (
            geometry.depth.min() > 0.9 * NEAR
            and ((geometry.confidence >= 0) & (geometry.confidence <= 1)).all()
        )


def test_provider_reduces_large_pictures_and_repeats_itself(lifter: Lifter) -> None:
    provider = LifterProvider(lifter, ProviderConfig(pixels=1500, surface=0.0, farthest=-9.0))
    first, second = (provider(posed_scene((96, 80))) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert one.depth.shape == (80, 96) and torch.equal(one.depth, other.depth)
        assert torch.equal(one.confidence, other.confidence)


def test_reduced_camera_sees_the_same_rays() -> None:
    camera = camera_at((0.0, 0.0, 0.0), size=(640, 480))
    small = reduced_camera(camera, 110_000)
    assert 100_000 < small.width * small.height < 120_000
    corner = torch.tensor([[0.0, 0.0]])
    torch.testing.assert_close(
        (corner - small.centre_px) / small.focal_px, (corner - camera.centre_px) / camera.focal_px
    )
    assert reduced_camera(small, 110_000 * 2) is small


def test_mask_and_surroundings_are_unknown(lifter: Lifter) -> None:
    pictures = posed_scene()
    mask = torch.ones(48, 64, dtype=torch.bool)
    mask[:, :20] = False
    masked = [replace(picture, mask=mask) for picture in pictures]
    geometry = LifterProvider(lifter, ProviderConfig(surface=0.0, farthest=-9.0))(masked)[0]
    assert (geometry.depth[:, :20] == 0).all() and (geometry.confidence[:, :20] == 0).all()
    assert (geometry.depth[:, 20:] > 0).all()
    for config in (ProviderConfig(surface=1.1), ProviderConfig(surface=0.0, farthest=48.0)):
        nothing = LifterProvider(lifter, config)(pictures)[0]
        assert (nothing.depth == 0).all() and (nothing.confidence == 0).all()


def test_views_that_share_nothing_are_refused(lifter: Lifter) -> None:
    pictures = posed_scene(count=2)
    away = replace(pictures[1], camera=camera_at((0.0, 0.0, 0.0), 180.0))
    with pytest.raises(FittingError, match="show the same things"):
        LifterProvider(lifter)([pictures[0], away])


def test_weights_survive_the_disk(lifter: Lifter, tmp_path: Path) -> None:
    path = save_lifter(tmp_path / "w.safetensors", lifter, {"seed": 3})
    with pytest.raises(WriteError, match="exists"):
        save_lifter(path, lifter, {})
    again, record = load_lifter(path)
    assert record == {"seed": 3}
    for name, value in lifter.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
    provider = choose_provider(f"lifter:{path}", Given())
    assert provider.name == f"lifter:{path}" and len(provider(posed_scene())) == 4


def test_weights_that_cannot_be_used_say_so(tmp_path: Path) -> None:
    from featurefields.files.container import write_container

    with pytest.raises(UnavailableError, match="no weights"):
        load_lifter(tmp_path / "none.safetensors")
    write_container(tmp_path / "odd.safetensors", {"x": torch.zeros(2)}, {"config": {}}, kind="lifter")
    with pytest.raises(FileFormatError, match="another network"):
        load_lifter(tmp_path / "odd.safetensors")
    write_container(tmp_path / "new.safetensors", {}, {"config": {"heads": 3}}, kind="lifter")
    with pytest.raises(FileFormatError, match="heads"):
        load_lifter(tmp_path / "new.safetensors")


def test_shipped_weights_find_depth_that_is_right(demo_scene: Path) -> None:
    """On the demo scene, of another generator than the practice scenes."""
    from featurefields.lifting.depth_range import depth_range
    from featurefields.readers import read_scene

    lifter, record = load_lifter(shipped_weights())
    assert shipped_weights().stat().st_size < 4e6 and "train-lifter" in str(record["command"])
    scene = read_scene(demo_scene)
    cameras, points = [view.camera for view in scene.views], scene.points.positions if scene.points else None
    near = sorted(scene.views, key=lambda view: float((view.camera.position - cameras[0].position).norm()))[
        :4
    ]
    pictures = []
    for view in near:
        ends = depth_range(view.camera, points, cameras)
        image = view.picture.image().permute(2, 0, 1)
        pictures.append(PosedPicture(view.name, view.camera, image, ends.near, ends.far))
    found, true = LifterProvider(lifter)(pictures)[0], near[0].picture.depth()
    assert true is not None
    both = (found.depth > 0) & (true > 0)
    error = ((found.depth - true).abs() / true)[both]
    assert error.median() < 0.02 and both.sum() > 0.9 * (true > 0).sum()
    assert error[found.confidence[both] > 0.5].median() < error[found.confidence[both] < 0.5].median()
