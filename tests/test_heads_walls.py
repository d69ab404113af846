"""Walls: rays meet planes where brute force says, and move with the world."""

import torch
from torch.nn.functional import normalize

from featurefields.heads.walls import FAR, Walls
from featurefields.maths.similarity import Similarity


def box(low: float, high: float) -> Walls:
    """A box from `low` to `high` around the origin on all axes."""
    walls = Walls()
    eye = torch.eye(3)
    walls.duals.data = torch.cat([eye / high, -eye / -low])
    return walls


def rays(count: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    places = 0.8 * (torch.rand(count, 3, generator=generator) - 0.5)
    return places, normalize(torch.randn(count, 3, generator=generator), dim=-1)


def test_rays_are_followed_to_the_nearest_plane() -> None:
    """Beside a march along every ray until it leaves the box."""
    places, leaving = rays(50)
    walls = box(-0.7, 1.3)
    t = torch.linspace(0, 4, 40_001)
    points = places[:, None] + t[:, None] * leaving[:, None]
    inside = ((points > -0.7) & (points < 1.3)).all(-1)
    last = (inside.sum(1) - 1).clamp(min=0)
    hit = points[torch.arange(len(places)), last]
    angle = torch.linalg.cross(walls(places, leaving), normalize(hit, dim=-1)).norm(dim=-1)
    assert angle.max() < 1e-3
    assert torch.linalg.cross(leaving, normalize(hit, dim=-1)).norm(dim=-1).max() > 0.1


def test_planes_at_infinity_leave_directions_alone() -> None:
    places, leaving = rays()
    walls = Walls()
    walls.duals.data.zero_()
    assert torch.allclose(walls(places, leaving), leaving, atol=1e-6)


def test_new_planes_are_far() -> None:
    places, leaving = rays()
    angle = torch.rad2deg(torch.linalg.cross(Walls()(places, leaving).detach(), leaving).norm(dim=-1))
    assert 0 < float(angle.max()) < float(torch.rad2deg(1.5 * places.norm(dim=-1).max() / FAR))


def test_what_is_mirrored_moves_with_the_world() -> None:
    places, leaving = rays()
    walls = box(-0.6, 1.1)
    walls.centre_on(torch.tensor([0.1, -0.05, 0.2]))
    before = walls(places, leaving)
    axis = normalize(torch.tensor([1.0, 2.0, -0.5]), dim=0)
    cross = torch.linalg.cross(torch.eye(3), axis.expand(3, 3))
    rotation = torch.linalg.matrix_exp(0.7 * cross)
    similarity = Similarity(2.5, rotation, torch.tensor([3.0, -1.0, 0.5]))
    unmoved = walls(similarity.points(places), leaving @ rotation.T)
    walls.move(similarity)
    after = walls(similarity.points(places), leaving @ rotation.T)
    assert torch.allclose(after, before, atol=1e-5)
    assert not torch.allclose(unmoved, before, atol=1e-2)


def test_points_on_and_beyond_a_plane_stay_finite_and_teach() -> None:
    walls = box(-0.5, 0.5)
    places = torch.tensor([[0.5, 0.0, 0.0], [0.9, 0.1, 0.0], [0.0, 0.0, -0.5]])
    leaving = normalize(torch.tensor([[1.0, 0.2, 0.0], [0.3, 1.0, 0.0], [0.0, 0.1, -1.0]]), dim=-1)
    directions = walls(places, leaving)
    directions[..., 1].sum().backward()
    assert torch.allclose(directions.norm(dim=-1), torch.ones(3), atol=1e-5)
    assert walls.duals.grad is not None and bool(walls.duals.grad.isfinite().all())
    assert float(walls.duals.grad.abs().sum()) > 0
