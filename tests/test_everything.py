"""Every object at once: groups of what is alike and goes on, votes of the views, colours that tell them apart."""

from dataclasses import replace

import pytest
import torch
from tiny_fields import part, ring, splats_at, two_balls
from torch import Tensor

from featurefields.errors import PromptError
from featurefields.field import FeatureField
from featurefields.heads.direct import DirectHead
from featurefields.raster import Rasterizer, choose_rasterizer
from featurefields.segmentation.everything import EverythingConfig, by_size, by_votes, everything
from featurefields.visualization.categories import distinct_colours, labels_over

CPU = choose_rasterizer("cpu")
PARTS = ("floor", "red", "blue")


def agreement(ids: Tensor, truth: Tensor) -> float:
    """IoU of the best group with what is true."""
    return max(
        float(((ids == number) & truth).sum() / ((ids == number) | truth).sum())
        for number in ids.unique().tolist()
    )


def patches(features: Tensor, normals: Tensor, gap: float = 0.0) -> FeatureField:
    """Two patches of 10 x 10 Gaussians beside each other, each with one feature (2 d) and one normal (2 3)."""
    y, x = torch.meshgrid(torch.arange(10.0), torch.arange(10.0), indexing="ij")
    one = torch.stack([x, y, torch.zeros_like(x)], -1).reshape(-1, 3)
    means = torch.cat([one, one + torch.tensor([10.0 + gap, 0.0, 0.0])])
    which = torch.arange(2).repeat_interleave(100)
    splats = splats_at(means, scale=0.5, normals=normals[which])
    noise = 0.01 * torch.randn(200, features.shape[1], generator=torch.Generator().manual_seed(1))
    return FeatureField(
        splats.with_columns(feature=features[which] + noise), {"feature": DirectHead("feature")}
    )


def apart(degrees: float) -> Tensor:
    """Two unit vectors at this angle, in four dimensions."""
    angle = torch.deg2rad(torch.tensor(degrees))
    return torch.tensor([[1.0, 0, 0, 0], [float(angle.cos()), float(angle.sin()), 0, 0]])


FLAT = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
STEEP = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])


class TestGroups:
    @pytest.mark.parametrize("kind", ["reflected", "harmonics"])
    def test_every_part_is_an_object(self, kind: str):
        ids = everything(two_balls(kind))
        assert ids.unique().tolist() == [1, 2, 3]
        for name in PARTS:
            assert agreement(ids, part(name)) > 0.95, name
        assert bool((ids[part("floor")] == 1).float().mean() > 0.95), "numbered from the largest"

    def test_a_pattern_on_one_surface_is_one_object_a_thing_on_it_is_another(self):
        """The same difference of features, 1 - cos 60 degrees = 0.5, with and without a bend."""
        assert everything(patches(apart(60), FLAT)).unique().tolist() == [1]
        assert everything(patches(apart(60), STEEP)).unique().tolist() == [1, 2]
        assert everything(patches(apart(20), STEEP)).unique().tolist() == [1]

    def test_alike_but_apart_are_two(self):
        assert everything(patches(apart(0), FLAT)).unique().tolist() == [1]
        ids = everything(patches(apart(0), FLAT, gap=30.0))
        assert ids.unique().tolist() == [1, 2] and ids[:100].unique().numel() == 1

    def test_a_larger_difference_finds_fewer(self):
        field = patches(apart(60), STEEP)
        counts = [
            int(everything(field, config=EverythingConfig(difference=limit)).max())
            for limit in (1e-6, 0.24, 2.0)
        ]
        assert counts[1:] == [2, 1] and counts[0] <= 2

    def test_small_groups_are_nothing(self):
        field = patches(apart(90), STEEP, gap=30.0)
        few = field.with_splats(field.splats.select(torch.arange(120)))
        ids = everything(few)
        assert ids[:100].unique().tolist() == [1] and ids[100:].unique().tolist() == [0]
        assert int(everything(few, config=EverythingConfig(smallest=10)).max()) == 2

    def test_every_run_is_the_same_and_the_order_of_rows_does_not_matter(self):
        field = two_balls()
        ids = everything(field)
        assert torch.equal(ids, everything(field))
        order = torch.randperm(len(field), generator=torch.Generator().manual_seed(2))
        shuffled = everything(field.with_splats(field.splats.select(order)))
        for name in PARTS:
            assert agreement(shuffled, part(name)[order]) > 0.95

    def test_without_normals_the_shortest_axes_count(self):
        field = two_balls()
        assert "normals" in field.splats.columns
        plain = field.with_splats(field.splats.without_columns("normals"))
        assert all(agreement(everything(plain), part(name)) > 0.95 for name in PARTS)

    @pytest.mark.parametrize("count", [1, 2])
    def test_hardly_anything(self, count: int):
        field = two_balls()
        few = field.with_splats(field.splats.select(torch.arange(count)))
        assert everything(few).tolist() == [0] * count
        assert everything(few, config=EverythingConfig(smallest=1)).min() >= 1

    def test_without_features_it_is_one_clear_line(self):
        field = two_balls()
        with pytest.raises(PromptError, match="no features") as caught:
            everything(replace(field, heads={"rgb": field.heads["rgb"]}))
        assert "\n" not in str(caught.value)


class TestVotes:
    def test_what_shows_something_else_joins_it(self, backend: Rasterizer, device: torch.device):
        """A few Gaussians of the red ball called blue are red by what the views show."""
        field = two_balls().to(device)
        truth = sum(number * part(name).long() for number, name in enumerate(PARTS, start=1)).to(device)
        wrong = truth.clone()
        red = part("red").nonzero()[:, 0]
        wrong[red[5:60:11]] = 3
        seen = []
        found = by_votes(field, wrong, ring(5), rasterizer=backend, on_view=lambda: seen.append(1))
        assert len(seen) == 5
        assert float((found == truth).float().mean()) > float((wrong == truth).float().mean())
        assert float((found == truth).float().mean()) > 0.97

    def test_who_is_not_seen_stays(self):
        field = two_balls()
        ids = torch.full((len(field),), 2)
        camera = ring(1)[0]
        backwards = camera.world_from_camera @ torch.diag(torch.tensor([-1.0, 1.0, -1.0, 1.0]))
        away = replace(camera, world_from_camera=backwards)
        assert torch.equal(by_votes(field, ids, [away], rasterizer=CPU), ids)
        assert torch.equal(by_votes(field, ids, [], rasterizer=CPU), ids)


def test_numbers_go_by_size():
    ids = torch.tensor([5] * 3 + [2] * 4 + [9] + [0] * 6 + [7] * 3)
    assert by_size(ids, 2).tolist() == [2] * 3 + [1] * 4 + [0] + [0] * 6 + [3] * 3


class TestColours:
    def test_they_are_distinct_and_the_first_ones_stay(self):
        many = distinct_colours(40)
        assert many.shape == (40, 3) and float(many.min()) >= 0 and float(many.max()) <= 1
        assert torch.equal(distinct_colours(7), many[:7])
        gaps = torch.cdist(many[:20], many[:20]) + torch.eye(20)
        assert float(gaps.min()) > 0.1

    def test_labels_tint_their_pixels_only(self):
        image, labels = torch.full((30, 30, 3), 0.5), torch.zeros(30, 30, dtype=torch.int64)
        labels[5:12, 5:12], labels[20:28, 20:28] = 1, 2
        colours = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
        tinted = labels_over(image, labels, colours)
        assert torch.equal(tinted[14:18], image[14:18]) and torch.equal(image, torch.full((30, 30, 3), 0.5))
        assert bool(tinted[8, 8, 0] > tinted[8, 8, 2]) and bool(tinted[24, 24, 2] > tinted[24, 24, 0])
