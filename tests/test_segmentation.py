"""From clicks to Gaussians: what is really seen is hit, what is alike and connected is chosen."""

import itertools
from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_fields import BALLS, ball, looking, part, pixel_of, splats_at, two_balls
from torch import Tensor

from featurefields.camera import Camera
from featurefields.errors import PromptError
from featurefields.field import FeatureField
from featurefields.heads.directional import DirectionalHead
from featurefields.maths.cosine import CosineSpace
from featurefields.maths.neighbours import nearest
from featurefields.raster import Rasterizer, choose_rasterizer
from featurefields.segmentation.evidence import evidence_of
from featurefields.segmentation.grouping import NEIGHBOURS, REACH, path_scores, stable_threshold
from featurefields.segmentation.prompts import RADIUS_PX, Click
from featurefields.segmentation.scores import average_features, similarity, stored_features
from featurefields.segmentation.select import SelectConfig, select
from featurefields.segmentation.viewed import ViewedField
from featurefields.selection import Selection
from featurefields.splats import Splats, concatenate

CPU = choose_rasterizer("cpu")
VIEW = looking((3.0, 0.0, 1.6))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def on(field: FeatureField, name: str, camera: Camera = VIEW, *, positive: bool = True) -> Click:
    x, y = pixel_of(field, camera, name)
    return Click(x + 0.5, y + 0.5, camera, positive)


class TestAverageFeatures:
    def test_matter_and_the_constant_that_reflections_add(self):
        field, generator = two_balls(), seeded(3)
        n, d = field.splats.columns["feature"].shape
        dep, centre = torch.randn(n, 4, d, generator=generator), torch.zeros(n, 4)
        splats = field.splats.with_columns(feature_dep=dep, feature_centre=centre)
        apart = replace(field, splats=splats, heads={"feature": DirectionalHead(constant=True)})
        total = apart.heads["feature"].at_gaussians(splats, VIEW)["total"]
        torch.testing.assert_close(average_features(apart), field.splats.columns["feature"] + dep[:, 0])
        assert (average_features(apart) - total).abs().max() > 0.1, "one direction is no average"
        slopes = splats.with_columns(feature_dep=dep[:, 1:], feature_centre=centre[:, 1:])
        together = replace(field, splats=slopes, heads={"feature": DirectionalHead()})
        torch.testing.assert_close(average_features(together), field.splats.columns["feature"])

    def test_the_tree_is_of_them(self):
        """Balls and floor are told apart by what they reflect alone."""
        field = two_balls()
        features = field.splats.columns["feature"]
        dep = torch.cat([features[:, None], torch.zeros(len(field), 3, features.shape[1])], dim=1)
        splats = field.splats.with_columns(
            feature=torch.ones_like(features), feature_dep=dep, feature_centre=torch.zeros(len(field), 4)
        )
        apart = replace(field, splats=splats, heads={"feature": DirectionalHead(constant=True)})
        assert torch.equal(select(apart, [on(field, "red")], rasterizer=CPU).mask, part("red"))


class TestHit:
    def test_the_front_gaussian_not_the_one_whose_centre_is_nearest(
        self, backend: Rasterizer, device: torch.device
    ):
        camera = looking((3.0, 0.0, 0.0))
        front = splats_at(torch.tensor([[1.0, 0.12, 0.0]]), scale=0.2, opacity=0.97)
        behind = splats_at(torch.tensor([[-1.0, 0.0, 0.0]]), scale=0.2, opacity=0.97)
        faint = splats_at(torch.tensor([[1.5, 0.0, 0.0]]), scale=0.05, opacity=0.05)
        field = FeatureField(concatenate([front, behind, faint]), {}).to(device)
        click = Click(20.0, 20.0, camera)
        pixels, depths = camera.project(field.splats.means.cpu())
        distance = (pixels - torch.tensor([20.0, 20.0])).norm(dim=-1)
        assert distance[0] > 1.0 > distance[1:].max() and depths[2] < depths[0] < depths[1]
        share = seen(field, click, rasterizer=backend).share.cpu()
        assert share.argmax() == 0 and float(share[0]) > 0.7
        assert float(share.sum()) == pytest.approx(1.0, abs=1e-5)
        without_front = field.with_splats(field.splats.select(torch.tensor([1, 2])))
        assert seen(without_front, click, rasterizer=backend).share.cpu().argmax() == 0

    def test_shares_are_the_weights_of_the_clicked_pixels(self):
        field = two_balls()
        click = on(field, "red")
        found = seen(field, click, rasterizer=CPU)
        assert float(found.share[part("red")].sum()) > 0.9 and 0.5 <= found.coverage <= 1.0 + 1e-4

    def test_a_wider_click_means_more_pixels(self):
        field = two_balls()
        narrow, wide = (seen(field, on(field, "red"), rasterizer=CPU, radius_px=r).share for r in (0.5, 6.0))
        assert int((wide > 0).sum()) > int((narrow > 0).sum())

    @pytest.mark.parametrize("corner", [(0.0, 0.0), (39.99, 39.99), (0.0, 39.9)])
    def test_the_corners_of_the_picture_can_be_clicked(self, corner: tuple[float, float]):
        camera = looking((0.0, 0.01, 0.5))  # nothing but floor, close by
        assert seen(two_balls(), Click(*corner, camera), rasterizer=CPU).coverage > 0.5

    @pytest.mark.parametrize(
        "x, y",
        [
            (-0.1, 5.0),
            (5.0, -3.0),
            (40.0, 5.0),
            (5.0, 40.0),
            (1e9, 5.0),
            (float("nan"), 5.0),
            (5.0, float("inf")),
        ],
    )
    def test_outside_the_picture_is_one_clear_line(self, x: float, y: float):
        with pytest.raises(PromptError, match=r"outside the picture of 40 x 40 pixels; x counts") as caught:
            seen(two_balls(), Click(x, y, VIEW), rasterizer=CPU)
        assert "\n" not in str(caught.value)

    def test_the_sky_is_one_clear_line(self):
        camera = looking((3.0, 0.0, 0.1), (0.0, 0.0, 1.5))
        with pytest.raises(PromptError, match=r"hits nothing: only 0% of it is covered by splats") as caught:
            seen(two_balls(), Click(20.0, 3.0, camera), rasterizer=CPU)
        assert "\n" not in str(caught.value)

    def test_a_faint_veil_is_nothing(self):
        veil = splats_at(torch.zeros(1, 3), scale=1.0, opacity=0.3)
        click = Click(20.0, 20.0, looking((3.0, 0.0, 0.0)))
        with pytest.raises(PromptError, match=r"only 30%"):
            seen(FeatureField(veil, {}), click, rasterizer=CPU)


@dataclass(frozen=True)
class Seen:
    """Every Gaussian's share of what a click shows (n), and how well its pixels are covered."""

    share: Tensor
    coverage: float


def seen(field: FeatureField, click: Click, *, rasterizer: Rasterizer, radius_px: float = RADIUS_PX) -> Seen:
    """What a click shows in its own view."""
    camera = click.camera.to(field.splats.means)
    found = evidence_of(replace(click, camera=camera), ViewedField(field, rasterizer), radius_px=radius_px)
    share = torch.zeros(len(field)).to(found.share).index_add_(0, found.rows, found.share)
    return Seen(share, found.coverage)


def bottleneck(splats: Splats, score: Tensor, seeds: Tensor) -> Tensor:
    """Best worst score over all paths to a seed, by the recurrence of Floyd and Warshall."""
    n = len(splats)
    distance, index = nearest(splats.means, NEIGHBOURS)
    best = torch.full((n, n), -torch.inf, dtype=torch.float64)
    for a in range(n):
        best[a, a] = score[a].double()
        for rank, (gap, b) in enumerate(zip(distance[a], index[a].tolist(), strict=True)):
            reach = REACH * max(float(splats.scales[a].max()), float(splats.scales[b].max()))
            if rank == 0 or float(gap) <= reach:
                worst = min(float(score[a]), float(score[b]))
                best[a, b] = best[b, a] = max(float(best[a, b]), worst)
    for via in range(n):
        best = torch.maximum(best, torch.minimum(best[:, via, None], best[None, via, :]))
    found = best[:, seeds].amax(1) if bool(seeds.any()) else torch.full((n,), -torch.inf)
    return torch.where(found.isinf(), -1.0, found)


class TestPathScores:
    @settings(max_examples=30, deadline=None)
    @given(n=st.integers(2, 34), seed=st.integers(0, 999), size=st.floats(-4.0, 0.0), count=st.integers(1, 4))
    def test_brute_force(self, n: int, seed: int, size: float, count: int):
        generator = seeded(seed)
        splats = splats_at(torch.randn(n, 3, generator=generator), scale=float(torch.exp(torch.tensor(size))))
        score = 2 * torch.rand(n, generator=generator) - 1
        seeds = torch.zeros(n, dtype=torch.bool)
        seeds[torch.randperm(n, generator=generator)[:count]] = True
        assert torch.allclose(
            path_scores(splats, score, seeds).double(), bottleneck(splats, score, seeds), atol=1e-6
        )

    def test_a_chain_with_a_weak_link(self):
        splats = splats_at(torch.stack([torch.arange(5.0), torch.zeros(5), torch.zeros(5)], -1), scale=0.4)
        score = torch.tensor([0.9, 0.8, 0.2, 0.95, 0.7])
        seeds = torch.tensor([True, False, False, False, False])
        assert torch.allclose(path_scores(splats, score, seeds), torch.tensor([0.9, 0.8, 0.2, 0.2, 0.2]))
        both = torch.tensor([True, False, False, False, True])
        assert torch.allclose(path_scores(splats, score, both), torch.tensor([0.9, 0.8, 0.2, 0.7, 0.7]))

    def test_no_path_is_minus_one_and_one_gaussian_is_enough(self):
        far = splats_at(torch.tensor([[0.0, 0, 0], [0.1, 0, 0], [50, 0, 0], [50.1, 0, 0]]), scale=0.1)
        seeds = torch.tensor([True, False, False, False])
        found = path_scores(far, torch.tensor([0.5, 0.6, 0.7, 0.8]), seeds)
        assert torch.allclose(found, torch.tensor([0.5, 0.5, -1.0, -1.0]))
        lone = splats_at(torch.zeros(1, 3))
        assert torch.allclose(
            path_scores(lone, torch.tensor([0.4]), torch.tensor([True])), torch.tensor([0.4])
        )
        assert torch.equal(
            path_scores(lone, torch.tensor([0.4]), torch.tensor([False])), torch.tensor([-1.0])
        )

    def test_where_the_path_leads_does_not_depend_on_the_order_of_the_rows(self):
        generator = seeded(8)
        splats = splats_at(torch.randn(40, 3, generator=generator), scale=0.3)
        score, seeds = torch.rand(40, generator=generator), torch.arange(40) < 2
        order = torch.randperm(40, generator=generator)
        shuffled = path_scores(splats.select(order), score[order], seeds[order])
        assert torch.allclose(shuffled, path_scores(splats, score, seeds)[order])


class TestThreshold:
    def test_it_lies_where_the_part_does_not_grow(self):
        """The object scores 0.75 to 0.95, the next thing 0.35 to 0.45: nothing happens between."""
        scores = torch.cat([torch.linspace(0.75, 0.95, 60), torch.linspace(0.35, 0.45, 300)])
        assert 0.45 < stable_threshold(scores, torch.ones(360), low=0.35, high=0.9) < 0.75

    def test_weight_counts_not_number(self):
        """A crowd of hardly visible Gaussians between two plateaus is no growth."""
        scores = torch.cat(
            [torch.full((50,), 0.95), torch.linspace(0.56, 0.9, 500), torch.linspace(0.35, 0.54, 99)]
        )
        weight = torch.cat([torch.ones(50), torch.full((500,), 1e-7), torch.ones(99)])
        assert stable_threshold(scores, weight, low=0.35, high=0.9) > 0.55

    def test_a_range_where_nothing_is_selected_is_no_stable_part(self):
        """What was clicked scores 0.7 itself: above that there is nothing at all, which never grows either."""
        scores = torch.cat([torch.linspace(0.65, 0.7, 40), torch.linspace(0.35, 0.42, 200)])
        assert 0.42 < stable_threshold(scores, torch.ones(240), low=0.35, high=0.9) < 0.65

    def test_it_stays_within_its_limits_whatever_the_scores(self):
        for scores in (torch.zeros(5), torch.ones(5), torch.full((5,), -1.0), torch.linspace(-1, 1, 5)):
            assert 0.35 <= stable_threshold(scores, torch.ones(5), low=0.35, high=0.9) <= 0.9


class TestSimilarity:
    def test_the_nearer_prototype_decides(self):
        space = CosineSpace.plain(2)
        features = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        positive, negative = torch.tensor([[1.0, 0.1]]), torch.tensor([[0.0, 1.0]])
        found = similarity(features, positive, negative, space)
        assert found[0] > 0.9 and found[1] < 0 and found[2] > 0.5
        alone = similarity(features, positive, negative[:0], space)
        assert torch.equal(alone, space.cosine(features, positive)[:, 0])

    def test_a_field_without_features_is_one_clear_line(self):
        field = two_balls()
        with pytest.raises(PromptError, match=r"no features .heads: rgb.; fit it with `ff fit`") as caught:
            stored_features(replace(field, heads={"rgb": field.heads["rgb"]}))
        assert "\n" not in str(caught.value)


class TestSelect:
    @pytest.mark.parametrize("name", ["red", "blue"])
    @pytest.mark.parametrize("kind", ["reflected", "harmonics"])
    def test_one_click_selects_the_object(self, name: str, kind: str):
        field = two_balls(kind)
        chosen = select(field, [on(field, name)], rasterizer=CPU).mask
        assert float((chosen & part(name)).sum() / (chosen | part(name)).sum()) > 0.95

    def test_of_two_alike_only_the_clicked_unless_everywhere(self):
        """Two identical blobs apart from each other, with the same feature, on nothing."""
        pieces = [ball(BALLS[name], 60)[0] for name in ("red", "blue")]
        splats = splats_at(torch.cat(pieces), scale=0.09, opacity=0.95)
        generator = seeded(3)
        other = splats_at(
            torch.tensor([[0.0, 0.0, -0.6]]).repeat(30, 1) + 0.02 * torch.randn(30, 3, generator=generator)
        )
        feature = torch.cat(
            [torch.tensor([[1.0, 0.0]]).repeat(120, 1), torch.tensor([[0.0, 1.0]]).repeat(30, 1)]
        )
        field = two_balls()
        field = replace(
            field, splats=concatenate([splats, other]).with_columns(feature=feature), heads=field.heads
        )
        camera = looking((3.0, 0.0, 0.35), (0.0, 0.0, 0.35))
        x, y = camera.project(torch.tensor([BALLS["red"]]))[0][0].tolist()
        click = Click(x, y, camera)
        first, second = torch.arange(150) < 60, (torch.arange(150) >= 60) & (torch.arange(150) < 120)
        assert torch.equal(select(field, [click], rasterizer=CPU).mask, first)
        everywhere = select(field, [click], rasterizer=CPU, config=SelectConfig(connected=False))
        assert torch.equal(everywhere.mask, first | second)

    def test_a_negative_click_excludes(self):
        """With a low threshold everything is alike; "not the floor" takes the floor out."""
        field = two_balls()
        feature = field.splats.columns["feature"].clone()
        feature[:, 3] += 2.0  # all alike
        field = field.with_splats(field.splats.with_columns(feature=feature))
        config = SelectConfig(threshold=0.5)
        whole = select(field, [on(field, "red")], rasterizer=CPU, config=config).mask
        assert bool(whole[part("floor")].all())
        clicks = [on(field, "red"), on(field, "floor", positive=False)]
        without = select(field, clicks, rasterizer=CPU, config=config).mask
        assert not bool(without[part("floor")].any()) and float(without[part("red")].float().mean()) > 0.9

    def test_several_clicks_select_several_things(self):
        field = two_balls()
        chosen = select(field, [on(field, "red"), on(field, "blue")], rasterizer=CPU).mask
        assert float((chosen == (part("red") | part("blue"))).float().mean()) > 0.95

    def test_a_given_threshold_is_kept_and_told(self):
        field = two_balls()
        low, high = (
            select(
                field, [on(field, "red")], rasterizer=CPU, config=SelectConfig(threshold=t, connected=False)
            )
            for t in (-1.0, 0.999)
        )
        assert bool(low.mask.all()) and 0 < high.count < 70
        assert (low.how["threshold"], low.how["automatic"]) == (-1.0, False)

    def test_more_is_selected_as_the_threshold_falls(self):
        field = two_balls()
        masks = [
            select(field, [on(field, "red")], rasterizer=CPU, config=SelectConfig(threshold=t)).mask
            for t in (0.95, 0.5, 0.1, -0.5)
        ]
        for smaller, larger in itertools.pairwise(masks):
            assert not bool((smaller & ~larger).any())

    def test_a_threshold_that_nothing_reaches_leaves_what_was_clicked(self):
        field = two_balls()
        chosen = select(field, [on(field, "red")], rasterizer=CPU, config=SelectConfig(threshold=1.5))
        assert 0 < chosen.count <= int(part("red").sum()) and not bool(chosen.mask[~part("red")].any())

    def test_the_same_clicks_give_the_same_selection(self, backend: Rasterizer, device: torch.device):
        field = two_balls().to(device)
        click = on(two_balls(), "blue")
        one, two = (select(field, [click], rasterizer=backend) for _ in range(2))
        assert torch.equal(one.mask, two.mask) and torch.equal(one.score, two.score) and one.how == two.how

    def test_it_belongs_to_its_field(self):
        field = two_balls()
        chosen = select(field, [on(field, "red")], rasterizer=CPU)
        chosen.check(field)
        moved = field.with_splats(replace(field.splats, means=field.splats.means + 0.1))
        with pytest.raises(PromptError, match=r"belongs to another scene") as caught:
            chosen.check(moved)
        assert "\n" not in str(caught.value)
        with pytest.raises(PromptError, match=r"belongs to another scene"):
            Selection(chosen.mask[:-1], chosen.score[:-1], field.fingerprint()).check(field)

    @pytest.mark.parametrize("clicks", [[], [False], [False, False]])
    def test_nothing_positive_is_one_clear_line(self, clicks: list[bool]):
        field = two_balls()
        given = [on(field, "red", positive=positive) for positive in clicks]
        with pytest.raises(PromptError, match=r"add a positive click") as caught:
            select(field, given, rasterizer=CPU)
        assert "\n" not in str(caught.value)

    def test_footprints_are_opacity_times_the_largest_cross_section(self):
        splats = splats_at(torch.zeros(1, 3), scale=0.2, opacity=0.5)
        splats.log_scales[0, 2] = -9.0
        assert float(splats.footprints) == pytest.approx(0.5 * 0.2 * 0.2, rel=1e-5)
