"""Correspondence and agreement between views: exact cases, brute force and laws."""

import math
from dataclasses import replace

import pytest
import torch
from probe_scenes import SIZE, Blank, Colours, slanted_plane, turned_camera

from featurefields.evaluation.probes import ProbeConfig, run_probes
from featurefields.evaluation.probes.correspondence import (
    MatchingConfig,
    match_pairs,
    ratio_matches,
    recall_numbers,
)
from featurefields.evaluation.probes.pairs import (
    LEAST_OVERLAP,
    Pair,
    chosen_pairs,
    depth_points,
    rotation_deg,
)
from featurefields.evaluation.probes.tokens import frozen_tokens
from featurefields.evaluation.probes.view_agreement import agreement_numbers

EXACT = MatchingConfig(longest_side=24, queries=None, kept=0.2)


class Pixels(Colours):
    """Colours at every second pixel: on the slanted plane they tell where one is."""

    fingerprint, stride = "pixels", 2

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(images, 2) - 0.5


def test_rotation_between_cameras() -> None:
    assert rotation_deg(turned_camera(10), turned_camera(52)) == pytest.approx(42, abs=1e-3)
    assert rotation_deg(turned_camera(10), turned_camera(10)) == pytest.approx(0, abs=0.1)
    for angle, bin in ((0.0, 0), (14.9, 0), (15.0, 1), (29.0, 1), (59.0, 2), (60.0, 3), (179.0, 3)):
        assert Pair("a", "b", angle, 1.0).bin == bin


def test_points_are_where_depth_says() -> None:
    """Unprojected points lie on the plane, at any resolution, and project to their own pixels."""
    sample = slanted_plane().samples[2]
    for side in (48, 24, 17):
        points = depth_points(sample, side)
        assert max(points.camera.size) == side
        step = 48 / side
        off_plane = (points.world[:, 2] - 0.2 * points.world[:, 0]).abs()
        assert float(off_plane.max()) < 0.05 * step, "depth is that of the nearest pixel"
        assert torch.allclose(points.projected(points.world), points.pixels, atol=1e-3)
        assert bool(points.sees(points.world).all())


def test_what_another_view_sees() -> None:
    first, second = (depth_points(slanted_plane().samples[k], 48) for k in (0, 4))
    seen = second.sees(first.world)
    pixels = second.projected(first.world)
    inside = ((pixels >= 0) & (pixels < torch.tensor(SIZE))).all(-1)
    assert torch.equal(seen, inside), "nothing hides anything: what is inside is seen"
    wall = replace(second, depth=torch.full_like(second.depth, 1.0))
    assert not bool(wall.sees(first.world).any()), "a wall in front hides everything"
    behind = 2 * second.camera.position - first.world
    assert not bool(second.sees(behind).any()) and bool(second.projected(behind).isinf().all())


class TestRatioMatches:
    def test_brute_force(self, generator: torch.Generator) -> None:
        queries, targets = torch.randn(30, 5, generator=generator), torch.randn(40, 5, generator=generator)
        found = ratio_matches(queries, targets, kept=7)
        distances = [[1 - float(torch.cosine_similarity(q, t, dim=0)) for t in targets] for q in queries]
        sureness = [1 - sorted(row)[0] / sorted(row)[1] for row in distances]
        order = sorted(range(30), key=lambda k: -sureness[k])[:7]
        assert found.first.tolist() == order
        assert found.second.tolist() == [distances[k].index(min(distances[k])) for k in order]
        assert found.sureness.tolist() == pytest.approx([sureness[k] for k in order], abs=1e-4)

    def test_length_does_not_matter(self, generator: torch.Generator) -> None:
        queries, targets = torch.randn(9, 4, generator=generator), torch.randn(12, 4, generator=generator)
        lengths = 10 ** torch.randn(12, 1, generator=generator)
        a, b = ratio_matches(queries, targets, kept=9), ratio_matches(3 * queries, lengths * targets, kept=9)
        assert torch.equal(a.second, b.second) and torch.equal(a.first, b.first)


@pytest.fixture(scope="module")
def recalls() -> dict[str, dict[str, float]]:
    data = slanted_plane()
    points = {sample.name: depth_points(sample, 24) for sample in data.samples}
    pairs = chosen_pairs(data.samples, points, 4)
    found = {}
    for extractor in (Pixels(), Blank()):
        with frozen_tokens(extractor, data.samples) as maps:
            found[extractor.fingerprint] = recall_numbers(match_pairs(pairs, points, maps, EXACT, 0))
    return found


class TestRecall:
    def test_features_that_tell_the_place_find_it(self, recalls: dict[str, dict[str, float]]) -> None:
        assert recalls["pixels"]["recall 5px"] > 0.9
        assert recalls["pixels"]["recall 5px of all points"] > 0.6
        assert recalls["pixels"]["recall 10px at 0-15°"] > 0.9

    def test_features_that_tell_nothing_do_not(self, recalls: dict[str, dict[str, float]]) -> None:
        assert recalls["blank"]["recall 5px"] < 0.5

    def test_larger_thresholds_find_more(self, recalls: dict[str, dict[str, float]]) -> None:
        for numbers in recalls.values():
            rising = [numbers[f"recall {limit}"] for limit in ("5px", "10px", "20px")]
            assert rising == sorted(rising)
            close = [numbers[f"recall {limit}"] for limit in ("1cm", "2cm", "5cm")]
            assert close == sorted(close)

    def test_an_error_by_hand(self) -> None:
        """Two points 12 pixels apart whose colours the other picture exchanges: each is taken for the other."""
        (sample,) = slanted_plane(1).samples
        sides = torch.zeros(SIZE[1], SIZE[0], 3)
        sides[:, :24, 0], sides[:, 24:, 1] = 1.0, 1.0
        both = (
            replace(sample, name="a", image=sides.clone),
            replace(sample, name="b", image=sides.flip(1).clone),
        )
        points = depth_points(sample, 48)
        where = [20 * 48 + 18, 20 * 48 + 30]
        two = replace(points, pixels=points.pixels[where], world=points.world[where])
        with frozen_tokens(Pixels(), both) as maps:
            every = replace(EXACT, kept=1.0)
            (same, other) = match_pairs(
                [Pair("a", "a", 0.0, 1.0), Pair("a", "b", 0.0, 1.0)], {"a": two, "b": two}, maps, every, 0
            )
        assert same.pixels == (1.0, 1.0, 1.0) and same.metres == (1.0, 1.0, 1.0) and same.matches == 2
        assert other.pixels == (0.0, 0.0, 1.0), "12 pixels: over 5 and 10, below 20"
        assert other.metres == (0.0, 0.0, 0.0)


class TestChoosingPairs:
    def test_overlap_and_bins(self) -> None:
        data = slanted_plane(7, 10.0)
        points = {sample.name: depth_points(sample, 24) for sample in data.samples}
        pairs = chosen_pairs(data.samples, points, 3)
        assert all(pair.overlap >= LEAST_OVERLAP for pair in pairs)
        bins = [pair.bin for pair in pairs]
        assert max(bins.count(bin) for bin in range(4)) == 3
        assert chosen_pairs(tuple(reversed(data.samples)), points, 3) == pairs
        again = chosen_pairs(data.samples[:3], points, 3)
        assert all(pair.rotation_deg < 21 for pair in again)

    def test_scenes_are_never_mixed(self) -> None:
        first, second = slanted_plane(3).samples, slanted_plane(3).samples
        second = tuple(replace(sample, scene="other", name=f"other/{k}") for k, sample in enumerate(second))
        points = {sample.name: depth_points(sample, 24) for sample in (*first, *second)}
        pairs = chosen_pairs((*first, *second), points, 50)
        assert {(pair.first.split("/")[0], pair.second.split("/")[0]) for pair in pairs} == {
            ("plane", "plane"),
            ("other", "other"),
        }


class TestAgreement:
    def numbers(self, extractor: Colours) -> tuple[dict[str, float], dict[str, int]]:
        data = slanted_plane()
        points = {sample.name: depth_points(sample, 24) for sample in data.samples}
        pairs = chosen_pairs(data.samples, points, 4)
        with frozen_tokens(extractor, data.samples) as maps:
            return agreement_numbers(pairs, {s.name: s for s in data.samples}, points, maps, data.regions)

    def test_features_of_the_surface_agree(self) -> None:
        numbers, counts = self.numbers(Pixels())
        assert numbers["agreement everything"] > 0.97
        assert numbers["contrast everything"] > 0.4, "and differ from those of other places"
        assert counts["points left"] + counts["points right"] == counts["points everything"]

    def test_features_that_are_the_same_everywhere_have_no_contrast(self) -> None:
        class Constant(Pixels):
            def __call__(self, images: torch.Tensor) -> torch.Tensor:
                return torch.ones_like(super().__call__(images))

        numbers, _ = self.numbers(Constant())
        assert numbers["agreement everything"] == pytest.approx(1, abs=1e-4)
        assert numbers["contrast everything"] == pytest.approx(0, abs=1e-4)

    def test_a_region_whose_features_move_with_the_view_agrees_less(self) -> None:
        class Reflecting(Pixels):
            """On the right half of the plane features are those of the picture's own left border: of the viewer."""

            def __call__(self, images: torch.Tensor) -> torch.Tensor:
                grid = super().__call__(images)
                moving = grid[..., :1].mean((-1, -2), keepdim=True).expand_as(grid).flip(1)
                return torch.where(grid[:, :1] > 0, moving + grid, grid)

        numbers, _ = self.numbers(Reflecting())
        assert numbers["agreement right"] < numbers["agreement left"] - 0.01


def test_one_scene_is_enough_for_correspondence() -> None:
    config = ProbeConfig(seeds=(0, 1), matching=replace(EXACT, queries=100))
    report = run_probes(Pixels(), slanted_plane(), config)
    assert [found.task for found in report.results] == ["correspondence"]
    found = report.results[0]
    assert found.mean("recall 10px") > 0.9 and found.counts["matches"] == 20 * found.counts["pairs"]
    assert found.numbers["recall 10px of all points"][0] != found.numbers["recall 10px of all points"][1]
    assert found.spread("agreement everything") == 0, "nothing is random in it"
    turned = replace(slanted_plane(), samples=tuple(reversed(slanted_plane().samples)))
    assert run_probes(Pixels(), turned, config).results[0].numbers == found.numbers


def test_pairs_that_the_data_prescribe() -> None:
    data = replace(slanted_plane(), pairs=(("plane/0", "plane/4"), ("plane/4", "plane/0")))
    found = run_probes(Pixels(), data, ProbeConfig(seeds=(0,), matching=EXACT)).results[0]
    assert found.counts["pairs"] == 2
    assert "recall 10px at 30-60°" in found.numbers and "recall 10px at 0-15°" not in found.numbers
    assert not math.isnan(found.mean("recall 10px"))
