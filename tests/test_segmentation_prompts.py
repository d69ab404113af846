"""Boxes, strokes, masks and words; several prototypes; features that depend on the view; reflections."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_fields import ball, looking, part, pixel_of, reflected_columns, reflected_head, splats_at, two_balls
from torch import Tensor

from featurefields.camera import Camera
from featurefields.errors import PromptError
from featurefields.field import About, FeatureField, render
from featurefields.heads.directional import DirectionalHead
from featurefields.maths.colour import linear_from_srgb
from featurefields.maths.cosine import CosineSpace
from featurefields.raster import RasterConfig, choose_rasterizer
from featurefields.segmentation.evidence import evidence_of
from featurefields.segmentation.pixels import grown, near_line
from featurefields.segmentation.prompts import Box, Click, MaskPrompt, Scribble, Text, TextTower
from featurefields.segmentation.prototypes import ALIKE, prototypes
from featurefields.segmentation.reflection import REFLECTION, cropped
from featurefields.segmentation.select import SelectConfig, select
from featurefields.segmentation.separation import NEARLY, STEP, separating_threshold
from featurefields.segmentation.text import relevancy
from featurefields.segmentation.viewed import ViewedField
from featurefields.splats import concatenate

CPU = choose_rasterizer("cpu")
VIEW = looking((3.0, 0.0, 1.6))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shown(field: FeatureField, name: str, camera: Camera = VIEW) -> Tensor:
    """Pixels that show a part of `two_balls` more than anything else."""
    drawn = CPU.draw(field.splats, part(name).float()[:, None], camera, RasterConfig())
    return drawn.image[..., 0] > 0.5


def box_around(mask: Tensor, camera: Camera = VIEW, *, margin: float = 0.0, positive: bool = True) -> Box:
    ys, xs = (axis.float() for axis in mask.nonzero().T)
    return Box(
        float(xs.min()) - margin, float(ys.min()) - margin, float(xs.max()) + 1 + margin,
        float(ys.max()) + 1 + margin, camera, positive,
    )  # fmt: skip


def iou(mask: Tensor, wanted: Tensor) -> float:
    return float((mask & wanted).sum() / (mask | wanted).sum())


class TestPixels:
    @settings(max_examples=60, deadline=None)
    @given(seed=st.integers(0, 9999), count=st.integers(1, 4), radius=st.floats(0.3, 6.0))
    def test_lines_by_brute_force(self, seed: int, count: int, radius: float):
        generator = seeded(seed)
        points = (torch.rand(count, 2, generator=generator, dtype=torch.float64) * 40 - 10).tolist()
        found = near_line((17, 12), [(x, y) for x, y in points], radius)
        ends = torch.tensor(points, dtype=torch.float64)
        ends = ends.repeat(2, 1) if count == 1 else ends
        steps = torch.linspace(0, 1, 2001, dtype=torch.float64)[:, None]
        dense = torch.cat([a + steps * (b - a) for a, b in pairwise(ends)])
        for y in range(12):
            for x in range(17):
                nearest = float((dense - torch.tensor([x + 0.5, y + 0.5])).norm(dim=-1).min())
                if abs(nearest - radius) > 1e-2:
                    assert bool(found[y, x]) == (nearest < radius), (x, y, nearest)

    def test_growing_by_brute_force(self):
        mask = torch.rand(9, 13, generator=seeded(2)) > 0.93
        for reach in (1, 2, 3):
            wide = grown(mask, reach)
            for y in range(9):
                for x in range(13):
                    near = mask[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
                    assert bool(wide[y, x]) == bool(near.any())

    def test_a_click_means_what_it_always_meant(self):
        centres = VIEW.pixel_centres()
        for x, y, radius in ((20.3, 11.9, 1.5), (0.0, 0.0, 1.5), (39.99, 20.0, 4.0), (7.5, 7.5, 0.1)):
            near = (centres - torch.tensor([x, y])).norm(dim=-1) <= max(radius, 0.75)
            assert torch.equal(Click(x, y, VIEW).pixels(radius), near)

    def test_boxes_and_their_rings(self):
        box = Box(10.0, 12.0, 20.0, 17.0, VIEW)
        inside = torch.zeros(40, 40, dtype=torch.bool)
        inside[12:17, 10:20] = True
        assert torch.equal(box.pixels(), inside)
        around = torch.zeros(40, 40, dtype=torch.bool)
        around[9:20, 7:23] = True
        assert torch.equal(box.ring(), around & ~inside)
        assert not bool(Box(-5.0, -5.0, 50.0, 50.0, VIEW).ring().any())

    def test_the_ring_of_a_mask_is_a_band_around_it(self):
        mask = torch.zeros(40, 40, dtype=torch.bool)
        mask[10:14, 10:14] = True
        ring = MaskPrompt(mask, VIEW).ring()
        around = torch.zeros(40, 40, dtype=torch.bool)
        around[7:17, 7:17] = True
        assert torch.equal(ring, around & ~mask)


class TestWhatMakesNoSense:
    @pytest.mark.parametrize(
        "prompt, complaint",
        [
            (Box(9.0, 9.0, 9.0, 12.0, VIEW), "is empty; give the left"),
            (Box(9.0, 12.0, 12.0, 9.0, VIEW), "is empty; give the left"),
            (Box(float("nan"), 1.0, 2.0, 3.0, VIEW), "is empty; give the left"),
            (Box(50.0, 50.0, 60.0, 60.0, VIEW), "covers no pixel of the picture of 40 x 40"),
            (Scribble((), VIEW), "0 points"),
            (Scribble(((1.0, float("inf")),), VIEW), "positive radius"),
            (Scribble(((1.0, 2.0),), VIEW, radius_px=0.0), "positive radius"),
            (Scribble(((-20.0, 2.0),), VIEW), "covers no pixel"),
            (
                MaskPrompt(torch.ones(4, 5, dtype=torch.bool), VIEW),
                "has 5 x 4 pixels and the picture 40 x 40",
            ),
            (MaskPrompt(torch.zeros(40, 40, dtype=torch.bool), VIEW), "is empty"),
            (Text(" "), "the text prompt is empty"),
        ],
        ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
    )
    def test_is_one_clear_line(self, prompt, complaint: str):
        with pytest.raises(PromptError, match=complaint) as caught:
            prompt.check()
        assert "\n" not in str(caught.value)

    def test_an_area_of_sky_hits_nothing(self):
        camera = looking((3.0, 0.0, 0.1), (0.0, 0.0, 1.5))
        for prompt in (Box(2.0, 2.0, 30.0, 8.0, camera), Scribble(((5.0, 5.0), (30.0, 5.0)), camera)):
            with pytest.raises(PromptError, match=rf"the {prompt.kind} .* hits nothing: only 0%"):
                select(two_balls(), [prompt], rasterizer=CPU)

    def test_a_click_outside_of_the_box_contradicts_it(self):
        field = two_balls()
        x, y = pixel_of(field, VIEW, "blue")
        prompts = [box_around(shown(field, "red")), Click(x + 0.5, y + 0.5, VIEW, name="blue one")]
        with pytest.raises(PromptError, match=r"the click blue one shows only what lies outside") as caught:
            select(field, prompts, rasterizer=CPU)
        assert "\n" not in str(caught.value)


class TestAreas:
    @pytest.mark.parametrize("name", ["red", "blue"])
    @pytest.mark.parametrize("kind", ["box", "wide box", "stroke", "mask", "part of a mask"])
    def test_every_kind_selects_the_object(self, name: str, kind: str):
        field = two_balls()
        pixels = shown(field, name)
        x, y = pixel_of(field, VIEW, name)
        prompt = {
            "box": box_around(pixels),
            "wide box": box_around(pixels, margin=3.0),
            "stroke": Scribble(((x - 1.0, y + 0.5), (x + 2.0, y + 0.5)), VIEW, 1.0),
            "mask": MaskPrompt(pixels, VIEW),
            "part of a mask": MaskPrompt(pixels & (torch.arange(40) < x), VIEW, whole=False),
        }[kind]
        assert iou(select(field, [prompt], rasterizer=CPU).mask, part(name)) > 0.95

    def test_nothing_outside_of_a_box_is_selected_whatever_the_threshold(self):
        field = two_balls()
        box = box_around(shown(field, "red"))
        config = SelectConfig(threshold=-1.0, connected=False)
        mask = select(field, [box], rasterizer=CPU, config=config).mask
        pixels, _ = VIEW.project(field.splats.means)
        assert bool(mask.any()) and bool(box.holds(pixels[mask]).all())
        behind = replace(VIEW, world_from_camera=looking((0.0, 0.0, 0.3), (3.0, 0.0, 0.3)).world_from_camera)
        _, depth = behind.project(field.splats.means)
        assert bool((depth < 0).any()) and not bool(
            (depth[mask] > 0).all()
        )  # the camera of the box sees them all

    def test_what_a_whole_mask_leaves_out_is_never_selected(self):
        """The left half of a ball is masked: with `whole` its right half, which looks the same, is not meant."""
        field = two_balls()
        pixels = shown(field, "red")
        half = pixels & (torch.arange(40) < pixel_of(field, VIEW, "red")[0])
        everything = SelectConfig(threshold=-1.0)
        drawn = {}
        for whole in (True, False):
            mask = select(
                field, [MaskPrompt(half, VIEW, whole=whole)], rasterizer=CPU, config=everything
            ).mask
            picture = CPU.draw(field.splats, mask.float()[:, None], VIEW, RasterConfig()).image[..., 0]
            drawn[whole] = float((picture > 0.5)[pixels & ~half].float().mean())
        assert drawn[True] < 0.35 and drawn[False] > 0.95

    def test_boxes_in_two_pictures_meet_and_in_one_add_up(self):
        field = two_balls()
        side = looking((0.3, 3.0, 1.2))
        one, other = box_around(shown(field, "red")), box_around(shown(field, "blue"))
        low = SelectConfig(threshold=0.5, connected=False)
        both = select(field, [one, other], rasterizer=CPU, config=low).mask
        assert iou(both, part("red") | part("blue")) > 0.9
        across = box_around(shown(field, "red", side), side)
        free = SelectConfig(threshold=-1.0, connected=False)
        met = select(field, [one, across], rasterizer=CPU, config=free).mask
        alone = [select(field, [box], rasterizer=CPU, config=free).mask for box in (one, across)]
        assert torch.equal(met, alone[0] & alone[1]) and not torch.equal(met, alone[0])

    def test_exact_prompts_are_obeyed_whatever_things_look_like(self):
        """Painted over the floor, a stroke selects floor; painted negatively, it takes out what looks right."""
        field = two_balls()
        x, y = pixel_of(field, VIEW, "red")
        fx, fy = pixel_of(field, VIEW, "floor")
        click = Click(x + 0.5, y + 0.5, VIEW)
        strict = SelectConfig(threshold=0.8)
        floor = Scribble(((fx - 3.0, fy + 0.5), (fx + 4.0, fy + 0.5)), VIEW, 3.0)
        painted = evidence_of(floor, ViewedField(field, CPU), radius_px=1.5)
        rows = painted.rows[painted.sure]
        rows = rows[part("floor")[rows]]
        assert len(rows) >= 3
        grown_too = select(field, [click, floor], rasterizer=CPU, config=strict).mask
        assert bool(grown_too[rows].all())
        erased = select(
            field, [click, floor, replace(floor, positive=False)], rasterizer=CPU, config=strict
        ).mask
        assert not bool(erased[rows].any()) and iou(erased & part("red"), part("red")) > 0.9
        again = [click, replace(floor, positive=False), floor]  # the last prompt has the last word
        assert bool(select(field, again, rasterizer=CPU, config=strict).mask[rows].all())

    def test_a_negative_area_takes_out_what_it_shows(self):
        field = two_balls()
        low = SelectConfig(threshold=-0.5, connected=False)
        x, y = pixel_of(field, VIEW, "red")
        click = Click(x + 0.5, y + 0.5, VIEW)
        assert bool(select(field, [click], rasterizer=CPU, config=low).mask[part("blue")].any())
        for against in (
            box_around(shown(field, "blue"), positive=False),
            MaskPrompt(shown(field, "blue"), VIEW, positive=False),
        ):
            mask = select(field, [click, against], rasterizer=CPU, config=low).mask
            assert float(mask[part("blue")].float().mean()) < 0.05 and bool(mask[part("red")].all())

    def test_shares_and_coverage_are_the_weights_of_the_pixels(self):
        field = two_balls()
        viewed = ViewedField(field, CPU)
        for prompt in (box_around(shown(field, "red")), MaskPrompt(shown(field, "red"), VIEW, whole=False)):
            found, pixels = evidence_of(prompt, viewed, radius_px=1.5), prompt.pixels()
            weights = torch.zeros(len(field))
            for row in range(len(field)):  # the definition: what a Gaussian alone gives the drawn pixels
                own = torch.zeros(len(field), 1)
                own[row] = 1.0
                weights[row] = viewed.view(VIEW).draw(own)[pixels].sum()
            share = torch.zeros(len(field)).index_add_(0, found.rows, found.share)
            assert torch.allclose(share, weights / weights.sum(), atol=1e-5)
            assert found.coverage == pytest.approx(float(weights.sum()) / int(pixels.sum()), abs=1e-4)


class TestSeparation:
    @settings(max_examples=60, deadline=None)
    @given(seed=st.integers(0, 9999), n=st.integers(2, 40))
    def test_brute_force(self, seed: int, n: int):
        generator = seeded(seed)
        score, meant, beside = torch.rand(3, n, generator=generator)
        meant[0] = 1.0
        found = separating_threshold(score, meant, beside, low=0.2, high=0.9)
        levels = [0.2 + STEP * k for k in range(71)]

        def overlap(level: float) -> float:
            chosen = score.double() >= level
            return float(meant[chosen].sum() / (meant.sum() + beside[chosen].sum()))

        best = max(map(overlap, levels))
        assert 0.2 - 1e-9 <= found <= 0.9 + 1e-9
        assert overlap(found - 1e-9) >= NEARLY * best - 1e-4
        assert all(overlap(level) < NEARLY * best + 1e-4 for level in levels if level < found - STEP / 2)

    def test_a_box_judges_the_threshold_where_likeness_decides(self):
        """Both balls look alike and the floor half as much: a box around one tells that the floor is not meant."""
        field = two_balls()
        feature = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.8, 0.6]])[
            torch.tensor([0] * 60 + [1] * 60 + [2] * 144)
        ]
        feature = feature + 0.02 * torch.randn(feature.shape, generator=seeded(1))
        field = field.with_splats(field.splats.with_columns(feature=feature))
        found = select(
            field,
            [MaskPrompt(shown(field, "red"), VIEW)],
            rasterizer=CPU,
            config=SelectConfig(connected=False),
        )
        assert float(str(found.how["threshold"])) > 0.81 and not bool(found.mask[part("floor")].any())


class TestPrototypes:
    SPACE = CosineSpace.plain(8)

    def blobs(self, sizes: tuple[int, ...], spread: float = 0.05) -> tuple[Tensor, Tensor]:
        generator = seeded(7)
        owner = torch.cat([torch.full((size,), index) for index, size in enumerate(sizes)])
        owner = owner[torch.randperm(len(owner), generator=generator)]
        return torch.eye(8)[owner] + spread * torch.randn(len(owner), 8, generator=generator), owner

    def test_each_kind_has_one_the_largest_first(self):
        features, owner = self.blobs((30, 50, 20))
        found = prototypes(features, torch.ones(100), self.SPACE)
        assert found.argmax(-1).tolist() == [1, 0, 2]
        for row, kind in zip(found, (1, 0, 2), strict=True):
            assert torch.allclose(row, features[owner == kind].mean(0), atol=1e-5)

    def test_weights_decide_what_is_large(self):
        features, owner = self.blobs((30, 50, 20))
        weights = torch.tensor([1.0, 0.1, 9.0])[owner]
        assert prototypes(features, weights, self.SPACE).argmax(-1).tolist() == [2, 0]  # 5 of 215: too small

    def test_alike_is_one_and_one_is_the_mean(self):
        features, _ = self.blobs((100,))
        weights = torch.rand(100, generator=seeded(1))
        for most in (1, 4):
            found = prototypes(features, weights, self.SPACE, most=most)
            assert torch.allclose(found, (weights / weights.sum() @ features)[None], atol=1e-5)

    def test_no_more_than_asked_for_and_none_alike(self):
        features, _ = self.blobs((20, 20, 20, 20, 20, 20, 20))
        found = prototypes(features, torch.ones(140), self.SPACE)
        assert len(found) == 4
        cosines = self.SPACE.cosine(found, found) - 2 * torch.eye(4)
        assert float(cosines.max()) <= ALIKE

    def test_order_of_rows_does_not_matter_and_nothing_is_random(self):
        features, _ = self.blobs((31, 17, 23), spread=0.3)
        weights = torch.rand(71, generator=seeded(4))
        order = torch.randperm(71, generator=seeded(5))
        one, other = (
            prototypes(features, weights, self.SPACE),
            prototypes(features[order], weights[order], self.SPACE),
        )
        assert torch.allclose(one, other, atol=1e-5)
        assert torch.equal(one, prototypes(features, weights, self.SPACE))

    def test_nothing_but_zeros_is_still_one(self):
        assert prototypes(torch.zeros(5, 8), torch.ones(5), self.SPACE).shape == (1, 8)
        assert bool(prototypes(torch.zeros(5, 8), torch.zeros(5), self.SPACE).isfinite().all())


def mirrored() -> FeatureField:
    """Two balls, alike as surfaces; the blue one's features follow the viewing direction, the red one's hardly."""
    field = two_balls()
    n = len(field)
    feature = torch.zeros(n, 4)
    feature[:, 0] = 1.0
    feature = feature + 0.02 * torch.randn(n, 4, generator=seeded(3))
    feature[part("floor"), 1] = 2.0
    slopes = torch.zeros(n, 3, 4)
    slopes[part("blue"), 2, 2], slopes[part("red"), 2, 2] = 6.0, 0.2
    columns = {"feature": feature, "feature_dep": slopes, "feature_centre": torch.zeros(n, 3)}
    splats = field.splats.without_columns("normals").with_columns(**columns)
    heads = {"feature": DirectionalHead("feature", degree=1)}
    return FeatureField(splats, heads, field.about)


class TestWhichFeatures:
    def click(self, field: FeatureField, name: str) -> Click:
        x, y = pixel_of(field, VIEW, name)
        return Click(x + 0.5, y + 0.5, VIEW)

    def test_each_field_tells_apart_what_differs_in_it(self):
        field = mirrored()
        everywhere = SelectConfig(connected=False, threshold=0.7)
        click = self.click(field, "blue")
        chosen = {
            layer: select(field, [click], rasterizer=CPU, config=replace(everywhere, field=layer))
            for layer in ("indep", "total", "dep")
        }
        assert iou(chosen["indep"].mask, part("red") | part("blue")) > 0.95
        for layer in ("total", "dep"):
            assert not bool(chosen[layer].mask[part("red")].any())
            assert float(chosen[layer].mask[part("blue")].float().mean()) > 0.9
            assert chosen[layer].how["field"] == layer
        assert not bool(chosen["dep"].mask[part("floor")].any())

    def test_views_differ_and_each_prompt_is_compared_as_its_camera_sees(self):
        field = mirrored()
        config = SelectConfig(connected=False, threshold=0.9, field="total")
        behind = looking((-3.0, 0.2, 1.6))
        x, y = pixel_of(field, behind, "blue")
        clicks = [self.click(field, "blue"), Click(x + 0.5, y + 0.5, behind)]
        both = select(field, clicks, rasterizer=CPU, config=config)
        alone = [select(field, [click], rasterizer=CPU, config=config) for click in clicks]
        assert not torch.allclose(alone[0].score, alone[1].score, atol=1e-2)
        assert torch.allclose(both.score, torch.maximum(alone[0].score, alone[1].score), atol=1e-6)

    def test_nothing_that_depends_on_the_view_is_one_clear_line(self):
        field = two_balls()
        click = self.click(field, "blue")
        with pytest.raises(PromptError, match=r"nothing in these features depends on the view") as caught:
            select(field, [click], rasterizer=CPU, config=SelectConfig(field="dep"))
        assert "\n" not in str(caught.value)
        flat = mirrored()
        still = flat.with_splats(flat.splats.with_columns(feature_dep=torch.zeros(len(flat), 3, 4)))
        with pytest.raises(PromptError, match=r"nothing in these features depends on the view"):
            select(still, [click], rasterizer=CPU, config=SelectConfig(field="dep"))

    def test_total_without_a_view_dependent_part_is_indep(self):
        field = two_balls()
        click = self.click(field, "red")
        one, other = (
            select(field, [click], rasterizer=CPU, config=SelectConfig(field=layer))
            for layer in ("indep", "total")
        )
        assert torch.equal(one.mask, other.mask)

    def test_words_have_no_view(self):
        field = worded()
        with pytest.raises(PromptError, match=r"depends on the view, and a text is given in none"):
            select(field, [Text("red")], rasterizer=CPU, text=Tower(), config=SelectConfig(field="total"))


class TestReflection:
    def field(self, gloss: Tensor) -> FeatureField:
        """One ball before the camera that mirrors as its gloss says."""
        means, normals = ball((0.0, 0.0, 0.0), 300)
        dark = torch.full((300, 3), 0.02)
        columns = reflected_columns(dark, normals) | {
            "gloss": gloss[:, None],
            "tint": torch.full((300, 3), 4.0),
        }
        head = reflected_head()
        with torch.no_grad():
            head.light.log_light.fill_(0.5)
        splats = splats_at(means, scale=0.08, opacity=0.97, **columns)
        return FeatureField(splats.with_columns(near=torch.zeros(300, 15, 3)), {"rgb": head}, About())

    def test_a_mirror_is_recognised_and_matter_is_not(self):
        camera = looking((3.0, 0.0, 0.4))
        for gloss, reflects in ((8.0, True), (-30.0, False)):
            field = self.field(torch.full((300,), gloss))
            found = evidence_of(Click(20.0, 20.0, camera), ViewedField(field, CPU), radius_px=1.5)
            assert found.reflected is not None and (found.reflected >= REFLECTION) == reflects
            assert 0.0 <= found.reflected <= 1.0

    def test_the_share_is_that_of_the_drawn_picture(self):
        """Cropping and leaving out what is not shown changes nothing, in areas and at the border."""
        field = self.field(3.0 * torch.randn(300, generator=seeded(6)))
        camera = looking((3.0, 0.0, 0.4), size=(44, 36))
        head = field.heads["rgb"].without_surroundings()
        layers = render(replace(field, heads={"rgb": head}), camera, rasterizer=CPU)["rgb"]
        for prompt in (
            Click(22.0, 18.0, camera),
            Box(16.0, 12.0, 30.0, 25.0, camera),
            Click(17.2, 20.4, camera),
        ):
            found = evidence_of(prompt, ViewedField(field, CPU), radius_px=1.5).reflected
            pixels = prompt.pixels()
            total, indep = (
                float(linear_from_srgb(layers[name])[pixels].sum()) for name in ("total", "indep")
            )
            assert found == pytest.approx(1 - indep / total, abs=2e-3)

    def test_the_cropped_camera_sees_the_same_rays(self):
        pixels = torch.zeros(40, 40, dtype=torch.bool)
        pixels[7:12, 30:33] = True
        part_of, left, top = cropped(VIEW, pixels)
        assert (left, top, part_of.size) == (30, 7, (3, 5))
        assert torch.allclose(part_of.directions(), VIEW.directions()[7:12, 30:33], atol=1e-6)

    def test_it_is_recorded_and_unknown_without_colours(self):
        field = two_balls()
        x, y = pixel_of(field, VIEW, "red")
        click = Click(x + 0.5, y + 0.5, VIEW)
        (told,) = select(field, [click], rasterizer=CPU).how["prompts"]  # type: ignore[misc]
        assert told["reflected"] < 0.05 and told["coverage"] > 0.9 and told["kind"] == "click"
        plain = replace(field, heads={"feature": field.heads["feature"]})
        (told,) = select(plain, [click], rasterizer=CPU).how["prompts"]  # type: ignore[misc]
        assert "reflected" not in told


class Tower:
    """An extractor whose features are the three parts of `two_balls`, and which has words for them."""

    fingerprint = "tower@1"
    words: tuple[str, ...] = ("red", "blue", "floor")

    def embed_text(self, phrases) -> Tensor:
        rows = [
            torch.eye(4)[self.words.index(phrase)] if phrase in self.words else torch.full((4,), 0.5)
            for phrase in phrases
        ]
        return 3.0 * torch.stack(rows)


def worded() -> FeatureField:
    field = two_balls()
    about = replace(field.about, extractor="tower@1", feature_mean=torch.zeros(4), feature_basis=torch.eye(4))
    return replace(field, about=about)


class TestText:
    def test_a_tower_is_known_by_what_it_can_do(self):
        assert isinstance(Tower(), TextTower) and not isinstance(two_balls(), TextTower)

    @pytest.mark.parametrize("name", ["red", "blue"])
    def test_words_select_what_they_mean(self, name: str):
        chosen = select(worded(), [Text(name)], rasterizer=CPU, text=Tower()).mask
        assert iou(chosen, part(name)) > 0.95

    def test_words_and_clicks_go_together(self):
        field = worded()
        x, y = pixel_of(field, VIEW, "red")
        low = SelectConfig(threshold=-0.9, connected=False)
        prompts = [Click(x + 0.5, y + 0.5, VIEW), Text("blue"), Text("floor", positive=False)]
        chosen = select(field, prompts, rasterizer=CPU, text=Tower(), config=low).mask
        assert not bool(chosen[part("floor")].any()) and bool(chosen[part("red") | part("blue")].all())

    def test_relevancy_by_hand_with_a_mean_and_a_basis(self):
        """Features mean + stored @ basis in six dimensions, cosines taken there."""
        generator = seeded(2)
        basis = torch.linalg.qr(torch.randn(6, 4, generator=generator)).Q.T.contiguous()
        mean = torch.randn(6, generator=generator)
        field = two_balls()
        about = replace(field.about, extractor="six@1", feature_mean=mean, feature_basis=basis)
        vectors = torch.randn(5, 6, generator=generator)

        class Six:
            fingerprint = "six@1"

            def embed_text(self, phrases) -> Tensor:
                assert list(phrases) == ["cup", "object", "things", "stuff", "texture"]
                return vectors

        whole = mean + field.splats.columns["feature"] @ basis
        cosines = torch.nn.functional.cosine_similarity(whole[:, None], vectors[None], dim=-1)
        pairs = torch.stack([10 * cosines[:, :1].expand(-1, 4), 10 * cosines[:, 1:]], dim=-1)
        wanted = pairs.softmax(-1)[..., 0].amin(-1)
        assert torch.allclose(relevancy(replace(field, about=about), "cup", Six()), wanted, atol=1e-5)

    @pytest.mark.parametrize(
        "tower, complaint",
        [
            (None, "the text 'red' cannot be understood: tower@1 has no text tower"),
            ("foreign", "features are of tower@1 and the words of other@2"),
        ],
    )
    def test_without_the_right_tower_it_is_one_clear_line(self, tower: str | None, complaint: str):
        foreign = Tower()
        foreign.fingerprint = "other@2"  # type: ignore[misc]
        with pytest.raises(PromptError, match=complaint) as caught:
            select(worded(), [Text("red")], rasterizer=CPU, text=None if tower is None else foreign)
        assert "\n" not in str(caught.value)

    def test_words_that_mean_nothing_here(self):
        with pytest.raises(PromptError, match=r"nothing in this scene is meant by 'zebra'"):
            select(worded(), [Text("zebra")], rasterizer=CPU, text=Tower())


def test_a_box_of_a_picture_does_not_hold_what_is_behind_its_camera():
    """A second ball of the same kind behind the camera projects into the box, mirrored."""
    front, _ = ball((0.0, 0.0, 0.0), 60)
    back, _ = ball((6.0, 0.0, 0.0), 60)
    splats = splats_at(torch.cat([front, back]), scale=0.09, opacity=0.95)
    field = two_balls()
    feature = torch.tensor([[1.0, 0.0, 0.0, 0.0]]).repeat(120, 1)
    field = FeatureField(
        concatenate([splats]).with_columns(feature=feature), {"feature": field.heads["feature"]}, About()
    )
    camera = looking((3.0, 0.0, 0.0))
    pixels, depth = camera.project(splats.means)
    box = Box(5.0, 5.0, 35.0, 35.0, camera)
    assert bool(box.holds(pixels).all()) and bool((depth[60:] < 0).all())
    config = SelectConfig(threshold=0.5, connected=False)
    mask = select(field, [box], rasterizer=CPU, config=config).mask
    assert torch.equal(mask, torch.arange(120) < 60)
