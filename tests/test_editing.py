"""Edits change what they say, where they are told to, and nothing else."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from tiny_fields import DC, looking, part, picture, reflected_columns, two_balls
from torch import Tensor

from featurefields.editing.edits import (
    LUMINANCE,
    Delete,
    Edit,
    Keep,
    Recolor,
    RemoveSpecular,
    SetRoughness,
    apply,
)
from featurefields.errors import PromptError
from featurefields.field import FeatureField, render
from featurefields.heads.reflected import ReflectedHead, diffuse_from_logit
from featurefields.maths.colour import linear_from_srgb
from featurefields.raster import choose_rasterizer

CPU = choose_rasterizer("cpu")
VIEWS = [looking((3.0, 0.0, 1.6)), looking((-1.0, 2.5, 1.2))]
SHINY = -1.5
COLOUR = (0.25, 0.55, 0.35)
CHANGES: dict[str, Edit] = {
    "remove": RemoveSpecular(veil=False),
    "half": RemoveSpecular(0.5, veil=False),
    "recolor": Recolor(COLOUR),
    "roughness": SetRoughness(0.8),
}


def everything(field: FeatureField) -> Tensor:
    return torch.ones(len(field), dtype=torch.bool)


def luminance(linear: Tensor) -> Tensor:
    return linear @ torch.tensor(LUMINANCE)


def same_rows(before: FeatureField, after: FeatureField, rows: Tensor) -> bool:
    """Whether every tensor of these Gaussians is the same bit for bit."""
    one, other = before.splats.tensors(), after.splats.tensors()
    return one.keys() == other.keys() and all(torch.equal(one[k][rows], other[k][rows]) for k in one)


class TestEveryEdit:
    @pytest.mark.parametrize("kind", ["reflected", "harmonics"])
    @pytest.mark.parametrize("name", CHANGES)
    def test_only_the_selected_change(self, name: str, kind: str):
        field, mask = two_balls(kind, gloss=SHINY), part("red")
        before = field.splats.each(torch.clone)
        if (kind, name) == ("harmonics", "roughness"):
            with pytest.raises(
                PromptError, match=r"needs reflections apart from matter.*fit the photos"
            ) as caught:
                apply(CHANGES[name], field, mask)
            assert "\n" not in str(caught.value)
            return
        edited = apply(CHANGES[name], field, mask)
        assert same_rows(field, edited, ~mask) and not same_rows(field, edited, mask)
        assert same_rows(field, field.with_splats(before), everything(field)), "the input is not changed"
        changed = [
            k for k, t in field.splats.tensors().items() if not torch.equal(t, edited.splats.tensors()[k])
        ]
        assert len(changed) == 1, "one column at most"
        assert edited.about is field.about and edited.heads == field.heads
        assert any(
            not torch.allclose(picture(field, view), picture(edited, view), atol=1e-3) for view in VIEWS
        )

    @pytest.mark.parametrize("name", CHANGES)
    def test_an_empty_selection_changes_nothing(self, name: str):
        field = two_balls(gloss=SHINY)
        edited = apply(CHANGES[name], field, ~everything(field))
        assert same_rows(field, edited, everything(field))

    @pytest.mark.parametrize("name", CHANGES)
    def test_a_field_without_colours_is_one_clear_line(self, name: str):
        field = two_balls()
        bare = replace(field, heads={"feature": field.heads["feature"]})
        with pytest.raises(PromptError, match=r"no colours to .*: its heads are feature$") as caught:
            apply(CHANGES[name], bare, everything(bare))
        assert "\n" not in str(caught.value)


class TestRemoveSpecular:
    def test_what_is_purely_diffuse_stays_as_it_looks(self):
        field = two_balls(gloss=-30.0)
        edited = apply(RemoveSpecular(), field, everything(field))
        for view in VIEWS:
            assert torch.allclose(picture(edited, view), picture(field, view), atol=1e-6)

    def test_what_reflects_shows_matter_only(self):
        field = two_balls(gloss=SHINY)
        edited = apply(RemoveSpecular(veil=False), field, everything(field))
        for view in VIEWS:
            before = render(field, view, rasterizer=CPU)["rgb"]
            after = render(edited, view, rasterizer=CPU)["rgb"]
            assert float(before["dep"].max()) > 0.2, "there was something to remove"
            assert float(after["dep"].max()) < 1e-4
            assert torch.allclose(after["total"], before["indep"], atol=1e-4)
            assert torch.equal(after["indep"], before["indep"])

    @pytest.mark.parametrize("kind", ["reflected", "harmonics"])
    def test_a_strength_of_zero_is_nothing_bit_for_bit(self, kind: str):
        field = two_balls(kind, gloss=SHINY)
        assert same_rows(field, apply(RemoveSpecular(0.0), field, everything(field)), everything(field))

    def test_half_the_strength_leaves_half_the_reflected_light(self):
        field = two_balls(gloss=SHINY)
        edited = apply(RemoveSpecular(0.5), field, everything(field))
        before, after = (render(f, VIEWS[0], rasterizer=CPU)["rgb"]["dep"] for f in (field, edited))
        light = linear_from_srgb(before)
        assert torch.allclose(linear_from_srgb(after), 0.5 * light, atol=1e-5) and float(light.max()) > 0.05

    def test_harmonics_keep_the_constant_band(self):
        field, mask = two_balls("harmonics"), part("blue")
        bands = apply(RemoveSpecular(), field, mask).splats.columns["harmonics"]
        assert torch.equal(bands[:, 0], field.splats.columns["harmonics"][:, 0])
        assert not bool(bands[mask, 1:].any()) and bool(bands[~mask, 1:].any())

    @pytest.mark.parametrize("strength", [-0.1, 1.1, math.nan])
    def test_an_impossible_strength_is_one_clear_line(self, strength: float):
        with pytest.raises(PromptError, match=r"strength of --remove-specular must be between 0 and 1, got"):
            apply(RemoveSpecular(strength), two_balls(), part("red"))


class TestRecolor:
    def matter(self, field: FeatureField) -> Tensor:
        if isinstance(field.heads["rgb"], ReflectedHead):
            return diffuse_from_logit(field.splats.columns["diffuse"])
        return linear_from_srgb(0.5 + DC * field.splats.columns["harmonics"][:, 0])

    @pytest.mark.parametrize("kind", ["reflected", "harmonics"])
    def test_the_mean_colour_is_reached_and_the_shading_stays(self, kind: str):
        field, mask = two_balls(kind), part("red")
        edited = apply(Recolor(COLOUR), field, mask)
        before, after = self.matter(field)[mask], self.matter(edited)[mask]
        visible = (field.splats.opacities * torch.exp(field.splats.log_scales.topk(2).values.sum(-1)))[mask]
        reached = (visible[:, None] * after).sum(0) / visible.sum()
        assert torch.allclose(reached, linear_from_srgb(torch.tensor(COLOUR)), atol=2e-3)
        ratio = luminance(after) / luminance(before)
        assert float(ratio.std() / ratio.mean()) < 1e-2, "relative luminance is kept"
        pair = torch.stack([luminance(before), luminance(after)])
        assert float(torch.corrcoef(pair)[0, 1]) > 0.999 and float(luminance(before).std()) > 0.005
        hue = after / after.sum(-1, keepdim=True)
        assert float((hue - hue.mean(0)).abs().max()) < 1e-3, "one hue and saturation"

    def test_recolouring_to_its_own_mean_keeps_a_uniform_thing(self):
        field, mask = two_balls(), part("red")
        colours = torch.tensor(COLOUR).repeat(len(field), 1)
        columns = reflected_columns(colours, field.splats.columns["normals"])
        field = field.with_splats(field.splats.with_columns(**columns))
        edited = apply(Recolor(COLOUR), field, mask)
        assert torch.allclose(self.matter(edited), self.matter(field), atol=1e-5)

    def test_reflections_stay(self):
        field = two_balls(gloss=SHINY)
        edited = apply(Recolor(COLOUR), field, everything(field))
        before, after = (render(f, VIEWS[0], rasterizer=CPU)["rgb"]["dep"] for f in (field, edited))
        assert torch.equal(before, after)

    @pytest.mark.parametrize("kind", ["reflected", "harmonics"])
    @pytest.mark.parametrize("rgb", [(0.0, 0.0, 0.0), (1.0, 1.0, 1.0)])
    def test_black_and_white_stay_finite(self, kind: str, rgb: tuple[float, float, float]):
        field = two_balls(kind)
        edited = apply(Recolor(rgb), field, everything(field))
        assert all(torch.isfinite(column).all() for column in edited.splats.columns.values())

    def test_black_matter_takes_a_colour_without_blowing_up(self):
        field = two_balls()
        column = torch.full_like(field.splats.columns["diffuse"], -40.0)
        edited = apply(
            Recolor(COLOUR), field.with_splats(field.splats.with_columns(diffuse=column)), part("red")
        )
        assert torch.isfinite(edited.splats.columns["diffuse"]).all()

    @pytest.mark.parametrize("rgb", [(1.2, 0.0, 0.0), (0.0, -0.1, 0.0), (0.0, 0.0, math.nan)])
    def test_an_impossible_colour_is_one_clear_line(self, rgb: tuple[float, float, float]):
        with pytest.raises(PromptError, match=r"a colour of --recolor .* must be between 0 and 1, got"):
            apply(Recolor(rgb), two_balls(), part("red"))


class TestRoughness:
    @pytest.mark.parametrize("value", [0.05, 0.5, 0.95])
    def test_the_selected_have_it(self, value: float):
        field, mask = two_balls(gloss=SHINY), part("red")
        found = torch.sigmoid(apply(SetRoughness(value), field, mask).splats.columns["roughness"])
        assert torch.allclose(found[mask], torch.tensor(value), atol=1e-5)
        assert torch.allclose(found[~mask], torch.tensor(0.5))

    @pytest.mark.parametrize("value", [0.0, 1.0])
    def test_the_ends_of_the_range_stay_finite(self, value: float):
        edited = apply(SetRoughness(value), two_balls(), part("red")).splats.columns["roughness"]
        assert torch.isfinite(edited).all()
        assert float((torch.sigmoid(edited[part("red")]) - value).abs().max()) < 0.02

    @pytest.mark.parametrize("value", [-0.01, 1.01, math.nan])
    def test_an_impossible_one_is_one_clear_line(self, value: float):
        with pytest.raises(PromptError, match=r"--roughness must be between 0 and 1, got"):
            apply(SetRoughness(value), two_balls(), part("red"))


class TestTakingOut:
    @pytest.mark.parametrize("kind", ["reflected", "harmonics"])
    def test_what_is_left_is_what_it_was(self, kind: str):
        field, mask = two_balls(kind), part("red")
        deleted, kept = apply(Delete(), field, mask), apply(Keep(), field, mask)
        assert (len(deleted), len(kept)) == (204, 60)
        for edited, rows in ((deleted, ~mask), (kept, mask)):
            for name, tensor in field.splats.tensors().items():
                assert torch.equal(edited.splats.tensors()[name], tensor[rows])
        assert len(field) == 264

    def test_delete_keeps_the_sky_and_keep_takes_it_away(self):
        field, mask = two_balls(), part("red")
        head = field.heads["rgb"]
        assert isinstance(head, ReflectedHead)
        with torch.no_grad():
            head.background[0] = 0.0  # a grey sky
        up = looking((3.0, 0.0, 0.1), (0.0, 0.0, 3.0))
        whole, deleted, kept = (
            picture(f, up) for f in (field, apply(Delete(), field, mask), apply(Keep(), field, mask))
        )
        assert float(whole[:5].min()) > 0.3
        assert torch.allclose(deleted[:5], whole[:5], atol=1e-5)
        assert float(kept[:5].max()) == 0.0
        assert head.sky and torch.equal(picture(field, up), whole), "the input keeps its sky"

    @pytest.mark.parametrize("edit, mask", [(Delete(), torch.ones), (Keep(), torch.zeros)])
    def test_nothing_left_is_one_clear_line(self, edit: Edit, mask: Callable[..., Tensor]):
        field = two_balls()
        with pytest.raises(
            PromptError, match="would leave no Gaussian at all; select something else"
        ) as caught:
            apply(edit, field, mask(len(field), dtype=torch.bool))
        assert "\n" not in str(caught.value)
