"""Edits of reflections, colour layers and surroundings do to light what they say."""

import math
from dataclasses import replace

import pytest
import torch
from tiny_fields import BALLS, DC, coverage, looking, part, picture, two_balls
from torch import Tensor
from torch.nn.functional import avg_pool2d

from featurefields.editing.edits import (
    Edit,
    Recolor,
    RemoveSpecular,
    ScaleRoughness,
    ScaleSpecular,
    SetRoughness,
    TintSpecular,
    TintSurroundings,
    apply,
)
from featurefields.editing.interface import luminance
from featurefields.errors import PromptError
from featurefields.field import FeatureField, render
from featurefields.heads.reflected import ReflectedHead, diffuse_from_logit
from featurefields.maths.colour import linear_from_srgb
from featurefields.raster import choose_rasterizer

CPU = choose_rasterizer("cpu")
VIEW = looking((2.2, -1.4, 1.3))
SHINY = -1.5
BLUE = (0.2, 0.4, 0.9)


def everything(field: FeatureField) -> Tensor:
    return torch.ones(len(field), dtype=torch.bool)


def layer(field: FeatureField, name: str) -> Tensor:
    """Linear light of a layer (h w 3)."""
    with torch.no_grad():
        return linear_from_srgb(render(field, VIEW, rasterizer=CPU, heads=("rgb",))["rgb"][name])


def unchanged_columns(before: FeatureField, after: FeatureField, *but: str) -> bool:
    one, other = before.splats.tensors(), after.splats.tensors()
    return all(torch.equal(one[key], other[key]) for key in one if key.removeprefix("columns.") not in but)


def metal() -> FeatureField:
    """Balls and floor of polished reddish metal."""
    field = two_balls(gloss=4.0)
    columns = field.splats.columns
    tint = torch.logit(torch.tensor([0.9, 0.6, 0.4])).expand_as(columns["tint"]).clone()
    black = torch.full_like(columns["diffuse"], -20.0)
    calm = {"tint": tint, "diffuse": black, "near": 0 * columns["near"]}
    return field.with_splats(field.splats.with_columns(**calm))


ONLY_ROWS: list[Edit] = [
    RemoveSpecular(0.7, "base-colour"),
    ScaleSpecular(0.5),
    ScaleSpecular(2.0),
    TintSpecular((0.3, 0.9, 0.5)),
    ScaleRoughness(1.5),
    *(Recolor(BLUE, name, flat) for name in ("indep", "dep", "both", "total") for flat in (False, True)),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("edit", ONLY_ROWS, ids=str)
def test_nothing_changes_outside_the_selection(edit: Edit):
    for field in (two_balls(gloss=SHINY), metal(), two_balls("harmonics")):
        needs_matter = isinstance(edit, ScaleRoughness) or getattr(edit, "metals", "") == "base-colour"
        if needs_matter and "diffuse" not in field.splats.columns:
            continue
        before = field.splats.each(torch.clone).tensors()
        edited = apply(edit, field, part("red"))
        after, rest = edited.splats.tensors(), ~part("red")
        assert after.keys() == before.keys() and edited.heads == field.heads and edited.about is field.about
        assert all(torch.equal(after[name][rest], before[name][rest]) for name in before)
        assert not all(torch.equal(after[name], before[name]) for name in before)
        assert all(torch.equal(t, before[name]) for name, t in field.splats.tensors().items()), "input"
        nobody = apply(edit, field, torch.zeros(264, dtype=torch.bool)).splats.tensors()
        assert all(torch.equal(nobody[name], before[name]) for name in before)


class TestHowMuchIsReflected:
    @pytest.mark.parametrize("factor", [0.25, 0.8, 1.7, 3.0])
    def test_light_that_is_reflected_is_scaled(self, factor: float):
        field = two_balls(gloss=SHINY)
        edited = apply(ScaleSpecular(factor), field, everything(field))
        before, after = layer(field, "dep"), layer(edited, "dep")
        assert float(before.max()) > 0.05 and torch.allclose(after, factor * before, atol=2e-5, rtol=1e-3)
        assert torch.equal(layer(edited, "indep"), layer(field, "indep"))

    def test_a_factor_of_one_is_nothing_and_none_is_removal(self):
        field = two_balls(gloss=SHINY)
        assert apply(ScaleSpecular(1.0), field, everything(field)) is field
        removed, scaled = (apply(e, field, part("red")) for e in (RemoveSpecular(), ScaleSpecular(0.0)))
        assert torch.equal(removed.splats.columns["gloss"], scaled.splats.columns["gloss"])

    def test_nothing_mirrors_more_light_than_there_is(self):
        field = metal()
        columns = apply(ScaleSpecular(1e6), field, everything(field)).splats.columns
        assert all(torch.isfinite(column).all() for column in columns.values())
        for name in ("gloss", "tint"):
            assert float(torch.sigmoid(columns[name]).max()) < 1 and float(columns[name].min()) > 5

    @pytest.mark.parametrize("kind", ["reflected", "harmonics"])
    def test_a_tint_filters_what_is_reflected(self, kind: str):
        field = two_balls(kind, gloss=SHINY)
        edited = apply(TintSpecular((1.0, 0.6, 0.0)), field, everything(field))
        if kind == "harmonics":
            wanted = field.splats.columns["harmonics"][:, 1:] * torch.tensor([1.0, 0.6, 0.0])
            assert torch.equal(edited.splats.columns["harmonics"][:, 1:], wanted)
            return
        before, after = layer(field, "dep"), layer(edited, "dep")
        assert torch.allclose(after[..., 0], before[..., 0], atol=1e-4)
        covered = before.amin(-1) > 0.02
        green, blue = ((after / before)[covered].median(0).values[i] for i in (1, 2))
        share = float(linear_from_srgb(torch.tensor(0.6)))
        assert share < float(green) < share + 0.2, "the white glare of grazing angles stays"
        assert float(blue) < 0.3

    def test_a_white_tint_changes_nothing_to_speak_of(self):
        field = two_balls(gloss=SHINY)
        edited = apply(TintSpecular((1.0, 1.0, 1.0)), field, everything(field))
        assert torch.allclose(picture(edited, VIEW), picture(field, VIEW), atol=1e-5)

    @pytest.mark.parametrize("factor, wanted", [(0.5, 0.25), (1.0, 0.5), (1.5, 0.75), (4.0, 0.99)])
    def test_roughness_is_scaled_up_to_its_end(self, factor: float, wanted: float):
        field = two_balls(gloss=SHINY)
        edited = apply(ScaleRoughness(factor), field, part("red"))
        found = torch.sigmoid(edited.splats.columns["roughness"])
        assert torch.allclose(found[part("red")], torch.tensor(wanted), atol=1e-5)
        assert unchanged_columns(field, edited, "roughness")


class TestMetals:
    def test_without_reflections_they_are_black_or_their_base_colour(self):
        field = metal()
        black = apply(RemoveSpecular(), field, everything(field))
        shown = apply(RemoveSpecular(metals="base-colour"), field, everything(field))
        assert float(layer(black, "total").max()) < 2e-3
        light = layer(shown, "total")
        assert torch.equal(light, layer(shown, "indep")), "matter, the same from everywhere"
        matter = diffuse_from_logit(shown.splats.columns["diffuse"])
        hue = matter / matter.amax(-1, keepdim=True)
        lit = field.heads["rgb"]
        assert isinstance(lit, ReflectedHead) and float(matter.min()) > 0.02
        assert float((hue[:, 0] - hue[:, 2]).mean()) > 0.2, "reddish"

    def test_in_even_light_the_base_colour_is_the_reflectance_times_the_light(self):
        field = metal()
        head = field.heads["rgb"]
        assert isinstance(head, ReflectedHead)
        with torch.no_grad():
            head.light.log_light.fill_(math.log(0.5))  # type: ignore[union-attr]
        shown = apply(RemoveSpecular(metals="base-colour"), field, everything(field)).splats.columns
        wanted = 0.5 * torch.sigmoid(torch.tensor(4.0)) * torch.tensor([0.9, 0.6, 0.4])
        assert torch.allclose(diffuse_from_logit(shown["diffuse"]), wanted.expand(264, 3), atol=2e-3)

    @pytest.mark.parametrize("gloss", [-30.0, 6.0])
    def test_what_is_no_metal_gets_nothing(self, gloss: float):
        field = two_balls(gloss=gloss)
        lacquer = torch.full_like(field.splats.columns["tint"], math.log(0.05 / 0.95))
        field = field.with_splats(field.splats.with_columns(tint=lacquer))
        edited = apply(RemoveSpecular(metals="base-colour", veil=False), field, everything(field))
        assert unchanged_columns(field, edited, "gloss")
        if gloss < 0:
            assert torch.allclose(picture(edited, VIEW), picture(field, VIEW), atol=1e-6)

    def test_harmonics_do_not_know_metals(self):
        field = two_balls("harmonics")
        with pytest.raises(PromptError, match="--metals base-colour needs reflections apart from matter"):
            apply(RemoveSpecular(metals="base-colour"), field, everything(field))


class TestRecolorLayers:
    def high_pass(self, image: Tensor) -> Tensor:
        grey = luminance(linear_from_srgb(image))[..., 0]
        return grey - avg_pool2d(grey[None, None], 9, stride=1, padding=4)[0, 0]

    @pytest.mark.parametrize("flat, least, most", [(False, 0.9, 1.0), (True, -1.0, 0.85)])
    @pytest.mark.parametrize("kind", ["reflected", "harmonics"])
    def test_texture_stays_unless_flat(self, kind: str, flat: bool, least: float, most: float):
        """The law of the methods: correlation of high-pass luminance inside the object; the neighbour breaks it."""
        field, rows = two_balls(kind, gloss=-30.0), part("red")
        x, y, z = BALLS["red"]
        camera = looking((1.6, y, 1.2), (x, y, z), size=(140, 140), focal=200.0)
        inside = coverage(field, camera, rows) > 0.9
        inside &= avg_pool2d(inside.float()[None, None], 9, stride=1, padding=4)[0, 0] == 1
        layer = "indep" if kind == "reflected" else "total"  # bands of the view are a texture too
        edited = apply(Recolor(BLUE, layer, flat), field, rows)
        pair = torch.stack([self.high_pass(picture(f, camera))[inside] for f in (field, edited)])
        assert int(inside.sum()) > 500
        assert least <= float(torch.corrcoef(pair)[0, 1]) <= most
        outside = coverage(field, camera, rows) == 0
        assert int(outside.sum()) > 1000
        assert torch.equal(picture(edited, camera)[outside], picture(field, camera)[outside])

    def test_reflections_take_the_hue_and_keep_their_brightness(self):
        field, pale = two_balls(gloss=SHINY), (0.5, 0.6, 0.8)
        edited = apply(Recolor(pale, "dep"), field, everything(field))
        assert unchanged_columns(field, edited, "tint", "gloss", "near")
        before, after = (luminance(torch.sigmoid(f.splats.columns["tint"])) for f in (field, edited))
        assert torch.allclose(after, before, rtol=2e-2)
        tint = torch.sigmoid(edited.splats.columns["tint"])
        goal = linear_from_srgb(torch.tensor(pale))
        assert torch.allclose(tint[:, 0] / tint[:, 2], (goal[0] / goal[2]).expand(264), atol=1e-3)

    def test_both_is_one_after_the_other(self):
        field = two_balls(gloss=SHINY)
        both = apply(Recolor(BLUE, "both"), field, part("red"))
        single = apply(Recolor(BLUE, "dep"), apply(Recolor(BLUE), field, part("red")), part("red"))
        assert unchanged_columns(both, single)

    def test_the_total_of_a_metal_gets_the_colour(self):
        """Matter alone cannot recolour what has none: it is added to the reflections and comes out too bright."""
        field, blue = metal(), (0.15, 0.3, 0.6)
        goal = linear_from_srgb(torch.tensor(blue))
        head = field.heads["rgb"]
        assert isinstance(head, ReflectedHead)
        with torch.no_grad():
            head.light.log_light.fill_(math.log(0.8))  # type: ignore[union-attr]
        solid = coverage(field, VIEW, everything(field)) > 0.98
        means = {
            name: layer(apply(Recolor(blue, name), field, everything(field)), "total")[solid].mean(0)
            for name in ("indep", "total")
        }
        errors = {name: float((mean - goal).abs().max()) for name, mean in means.items()}
        assert errors["total"] < 0.12 < 0.2 < errors["indep"], means

    def test_flat_total_is_one_colour_without_reflections(self):
        field = two_balls(gloss=SHINY)
        edited = apply(Recolor(BLUE, "total", flat=True), field, everything(field))
        solid = coverage(field, VIEW, everything(field)) > 0.99
        assert float(layer(edited, "dep").max()) < 1e-4
        shown = picture(edited, VIEW)[solid]
        assert torch.allclose(shown, torch.tensor(BLUE).expand_as(shown), atol=0.02)

    def test_flat_reflections_are_alike_everywhere(self):
        field = two_balls(gloss=SHINY)
        columns = apply(Recolor(BLUE, "dep", flat=True), field, part("red")).splats.columns
        for name in ("tint", "gloss"):
            rows = columns[name][part("red")]
            assert torch.allclose(rows, rows[:1].expand_as(rows), atol=1e-4)
        assert not bool(columns["near"][part("red")].any())

    @pytest.mark.parametrize("name", ["dep", "both", "total"])
    def test_bands_of_harmonics(self, name: str):
        field = two_balls("harmonics")
        before = field.splats.columns["harmonics"]
        bands = apply(Recolor(BLUE, name), field, everything(field)).splats.columns["harmonics"]  # type: ignore[arg-type]
        assert torch.equal(bands[:, 0], before[:, 0]) == (name == "dep")
        small, goal = 1e-3, linear_from_srgb(torch.tensor(BLUE))

        def added(rows: Tensor) -> Tensor:
            """Linear light that a thousandth of the first band adds."""
            rows = rows.double()
            shown = 0.5 + DC * rows[:, 0]
            return (linear_from_srgb(shown + small * rows[:, 1]) - linear_from_srgb(shown)) / small

        light = added(bands)
        matter = linear_from_srgb(0.5 + DC * bands[:, 0]) if name == "total" else goal
        ratio = light / matter
        bright = (0.5 + DC * bands[:, 0]).amin(-1) > 0.1
        assert int(bright.sum()) > 100
        assert torch.allclose(ratio[bright, 0], ratio[bright, 2], rtol=0.02, atol=1e-3), "one hue"
        if name == "dep":
            assert torch.allclose(luminance(light)[bright], luminance(added(before))[bright], atol=1e-3)

    @pytest.mark.parametrize("name", ["indep", "dep", "both", "total"])
    @pytest.mark.parametrize("rgb", [(0.0, 0.0, 0.0), (1.0, 1.0, 1.0)])
    def test_black_and_white_stay_finite(self, name: str, rgb: tuple[float, float, float]):
        for field in (two_balls(gloss=SHINY), metal(), two_balls("harmonics")):
            for flat in (False, True):
                edited = apply(Recolor(rgb, name, flat), field, part("red"))  # type: ignore[arg-type]
                assert all(torch.isfinite(column).all() for column in edited.splats.columns.values())


class TestSurroundings:
    def test_all_that_is_mirrored_is_multiplied(self):
        field, factors = two_balls(gloss=SHINY), (0.3, 1.0, 2.0)
        edited = apply(TintSurroundings(factors), field, part("red"))
        before, after = layer(field, "dep"), layer(edited, "dep")
        assert torch.allclose(after, before * torch.tensor(factors), atol=1e-5, rtol=1e-4)
        assert torch.equal(layer(edited, "indep"), layer(field, "indep")), "matter and sky stay"
        assert unchanged_columns(field, edited, "near")
        assert torch.equal(layer(field, "dep"), before), "the input keeps its light"

    def test_none_is_finite_and_one_is_nothing(self):
        field = two_balls(gloss=SHINY)
        dark = apply(TintSurroundings((0.0, 0.0, 0.0)), field, everything(field))
        assert float(layer(dark, "dep").max()) < 1e-4
        assert apply(TintSurroundings((1.0, 1.0, 1.0)), field, everything(field)) is field

    def test_a_network_is_no_picture(self):
        field = two_balls(gloss=SHINY)
        field = replace(field, heads={"rgb": ReflectedHead(light="network")})
        with pytest.raises(PromptError, match="needs surroundings that are a picture"):
            apply(TintSurroundings((1.0, 1.0, 2.0)), field, everything(field))


IMPOSSIBLE: dict[str, object] = {
    "--scale-specular must be 0 or more, got -1": lambda: ScaleSpecular(-1.0),
    "--scale-specular must be 0 or more, got inf": lambda: ScaleSpecular(math.inf),
    "--tint-specular .* between 0 and 1, got 2": lambda: TintSpecular((0.0, 0.0, 2.0)),
    "--scale-roughness must be 0 or more, got nan": lambda: ScaleRoughness(math.nan),
    "--tint-surroundings must be 0 or more, got -0.5": lambda: TintSurroundings((1.0, -0.5, 1.0)),
}


@pytest.mark.parametrize("message", IMPOSSIBLE)
def test_what_is_impossible_cannot_be_made(message: str):
    with pytest.raises(PromptError, match=message) as caught:
        IMPOSSIBLE[message]()  # type: ignore[operator]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("edit", [ScaleRoughness(2.0), SetRoughness(0.2), TintSurroundings((1.0, 1.0, 0.5))])
def test_what_needs_reflections_says_so_of_harmonics(edit: Edit):
    with pytest.raises(PromptError, match=r"^--[a-z-]+ needs reflections apart from matter.*fit the photos"):
        apply(edit, two_balls("harmonics"), part("red"))
