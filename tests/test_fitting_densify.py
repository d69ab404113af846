"""Adding and removing Gaussians: within the budget, where the error is, without a jump in the picture."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_fields import looking, splats_at

from featurefields.fitting.densify import DensifyConfig, changed_rows, halves, to_remove, to_split
from featurefields.raster import RasterConfig, choose_rasterizer
from featurefields.splats import Splats, concatenate


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def cloud(n: int, seed: int = 0) -> Splats:
    generator = seeded(seed)
    return Splats(
        torch.randn(n, 3, generator=generator),
        torch.randn(n, 4, generator=generator),
        0.5 * torch.randn(n, 3, generator=generator) - 3,
        torch.randn(n, generator=generator) * 3,
        {"label": torch.arange(n).float()},
    )


class TestWhen:
    def test_only_at_multiples_within_the_window(self):
        config = DensifyConfig(every=100, start=0.1, stop=0.6)
        assert [step for step in range(1, 2001) if config.due(step, 2000)] == list(range(200, 1201, 100))


class TestChange:
    @settings(max_examples=40, deadline=None)
    @given(
        n=st.integers(1, 60), budget=st.integers(1, 80), growth=st.floats(0.0, 2.0), seed=st.integers(0, 99)
    )
    def test_the_budget_is_never_exceeded(self, n: int, budget: int, growth: float, seed: int):
        splats, config = cloud(n, seed), DensifyConfig(budget=budget, growth=growth)
        score = torch.rand(n, generator=seeded(seed)) - 0.2
        keep, new = changed_rows(splats, score, config, seeded(seed))
        alive = n - int(to_remove(splats, config).sum())
        assert len(keep) + len(new) <= max(budget, alive)
        assert len(new) % 2 == 0
        parents = new.columns["label"][: len(new) // 2]
        assert torch.equal(parents, new.columns["label"][len(new) // 2 :])
        assert sorted([*keep.tolist(), *parents.int().tolist()]) == sorted(
            (~to_remove(splats, config)).nonzero().squeeze(-1).tolist()
        ), "every living row stays or is replaced by its two halves, once"

    def test_a_full_table_keeps_all_that_lives(self):
        splats = cloud(30)
        splats.opacity_logits[:] = 2.0
        keep, new = changed_rows(splats, torch.rand(30), DensifyConfig(budget=30), seeded())
        assert keep.tolist() == list(range(30)) and len(new) == 0

    def test_the_transparent_and_the_broken_go(self):
        splats = cloud(10)
        splats.opacity_logits[:] = 2.0
        splats.opacity_logits[3] = -8.0
        splats.means[5, 1] = torch.nan
        splats.log_scales[7, 0] = torch.inf
        gone = to_remove(splats, DensifyConfig())
        assert gone.nonzero().squeeze(-1).tolist() == [3, 5, 7]
        score = torch.zeros(10)
        score[[3, 5, 7]] = 100.0
        keep, new = changed_rows(splats, score, DensifyConfig(budget=50), seeded())
        assert keep.tolist() == [0, 1, 2, 4, 6, 8, 9] and len(new) == 0

    def test_what_is_freed_can_be_used_at_once(self):
        splats = cloud(10)
        splats.opacity_logits[:] = 2.0
        splats.opacity_logits[:4] = -8.0
        keep, new = changed_rows(splats, torch.ones(10), DensifyConfig(budget=10, growth=5.0), seeded())
        assert len(keep) + len(new) == 10


class TestWhere:
    def test_the_share_of_splits_follows_the_score(self):
        """Of 400 draws of one of ten, each comes as often as its score says (five standard deviations)."""
        score = torch.arange(10).float()
        config = DensifyConfig(growth=0.0)
        drawn = torch.cat([to_split(score, 5, config, seeded(seed)) for seed in range(400)])
        assert len(drawn) == 400
        wanted = score / score.sum()
        found = drawn.bincount(minlength=10) / 400
        assert ((found - wanted).abs() <= 5 * (wanted * (1 - wanted) / 400).sqrt()).all()
        assert found[0] == 0
        uniform = torch.full((10,), 0.1)
        assert ((found - uniform).abs() > 5 * (uniform * 0.9 / 400).sqrt()).any(), "the bound can fail"

    def test_without_repetition_without_those_who_have_no_error(self):
        score = torch.tensor([0.0, 1.0, -1.0, 2.0, float("nan"), 3.0])
        assert to_split(score, 100, DensifyConfig(growth=9.0), seeded()).tolist() == [1, 3, 5]

    @pytest.mark.parametrize("free", [0, -5])
    def test_no_room_no_split(self, free: int):
        assert len(to_split(torch.ones(5), free, DensifyConfig(), seeded())) == 0

    def test_one_change_adds_a_bounded_fraction(self):
        assert len(to_split(torch.ones(1000), 10**6, DensifyConfig(growth=0.12), seeded())) == 121


class TestHalves:
    @pytest.mark.parametrize("opacity", [0.1, 0.5, 0.95])
    @pytest.mark.parametrize("stretch", [1.2, 3.0])
    def test_the_picture_of_a_lone_gaussian_stays_nearly_the_same(self, opacity: float, stretch: float):
        parent = splats_at(torch.zeros(1, 3), scale=0.12, opacity=opacity)
        parent.log_scales[0, 1] += torch.log(torch.tensor(stretch))
        camera = looking((3.0, 0.0, 0.0))
        before, after = (_alpha(splats, camera) for splats in (parent, concatenate(halves(parent))))
        total = float(after.sum() / before.sum())
        assert 0.9 < total < 1.2, f"the total changed by {total:.3f}"
        assert float((after - before).abs().max()) < 0.2 * opacity
        doubled = _alpha(concatenate([parent, parent]), camera)  # the neighbour that breaks the tolerance
        if opacity < 0.9:
            assert not 0.9 < float(doubled.sum() / before.sum()) < 1.2

    def test_they_lie_along_the_longest_axis_and_inherit_the_rest(self):
        parents = cloud(20)
        first, second = halves(parents)
        assert torch.allclose((first.means + second.means) / 2, parents.means, atol=1e-6)
        gap = (second.means - first.means).norm(dim=-1)
        assert torch.allclose(gap, parents.scales.amax(-1), rtol=1e-4)
        for half in (first, second):
            assert torch.equal(half.columns["label"], parents.columns["label"])
            assert torch.equal(half.quats, parents.quats)
            longest = parents.log_scales.argmax(-1, keepdim=True)
            shrunk = (parents.log_scales - half.log_scales).gather(1, longest)
            assert (shrunk > 0.3).all()
            assert torch.equal(
                half.log_scales.scatter(1, longest, 0), parents.log_scales.scatter(1, longest, 0)
            )
            assert (half.opacities < parents.opacities).all()

    def test_extreme_opacities_stay_finite(self):
        parents = cloud(3)
        parents.opacity_logits[:] = torch.tensor([-60.0, 60.0, torch.inf])
        for half in halves(parents):
            assert torch.isfinite(half.opacity_logits).all()


def _alpha(splats: Splats, camera) -> torch.Tensor:
    channels = torch.ones(len(splats), 1)
    return choose_rasterizer("cpu").draw(splats, channels, camera, RasterConfig()).alpha
