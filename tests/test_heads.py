"""Heads: what they draw and decode, and that a moved field looks the same to moved cameras."""

import json
from dataclasses import replace

import pytest
import torch
from laws import assert_mostly_close, moved_camera, random_scene, random_similarity, seeded, unit_vectors

from featurefields.camera import Camera
from featurefields.errors import UnknownNameError
from featurefields.field import FeatureField, render
from featurefields.heads import HEADS, Head, head_from_config
from featurefields.heads.deferred import DeferredHead
from featurefields.heads.directional import DirectionalHead
from featurefields.heads.harmonics import HarmonicsHead
from featurefields.heads.reflected import (
    DIELECTRIC,
    ReflectedHead,
    diffuse_from_logit,
    logit_from_diffuse,
)
from featurefields.maths.harmonics import harmonics_count
from featurefields.raster import choose_rasterizer
from featurefields.splats import Splats

SIZE = (24, 18)


def example(kind: str, splats: Splats, *, normals: bool = True) -> tuple[Head, Splats]:
    """A head of every registered kind with random weights, and the splats with its random columns."""
    generator, n = seeded(8), len(splats)
    random = lambda *shape: torch.randn(n, *shape, generator=generator).to(splats.means)  # noqa: E731
    if kind == "direct":
        return head_from_config(kind, {"column": "feature"}), splats.with_columns(feature=random(5))
    if kind == "harmonics":
        return head_from_config(kind, {"degree": 3}), splats.with_columns(harmonics=0.5 * random(16, 3))
    directions = unit_vectors(n, generator).to(splats.means)
    if kind == "deferred":
        torch.manual_seed(5)
        columns = {"f": random(4), "f_code": random(3)}
        if normals:
            columns |= {"normals": directions * 3, "roughness": random(1)}
        head = head_from_config(kind, {"name": "f", "dim": 4, "code": 3, "hidden": 16})
        return head, splats.with_columns(**columns)
    if kind == "directional":
        k = harmonics_count(2) - 1
        columns = {"f": random(4), "f_dep": random(k, 4), "f_centre": 0.2 * random(k)}
        if normals:
            columns["normals"] = directions * 3
        return head_from_config(kind, {"name": "f", "degree": 2}), splats.with_columns(**columns)
    assert kind == "reflected", f"no example of a {kind} head: add one, so that the laws hold for it"
    torch.manual_seed(3)
    head = head_from_config(kind, {"light": "map", "sky": True, "near": 2, "walls": True})
    head.walls.duals.data.mul_(4.0)
    torch.nn.init.normal_(head.background)
    torch.nn.init.normal_(head.light.log_light)
    columns = {
        "diffuse": random(3),
        "tint": random(3) - 1,
        "gloss": random(1),
        "normals": directions * 3,
        "near": 0.1 * random(8, 3),
        "near_centre": 0.2 * random(8),
    }
    return head, splats.with_columns(roughness=random(1), **columns)


@pytest.fixture(params=list(HEADS.entries))
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def scene(seed: int = 1, n: int = 60) -> tuple[Splats, Camera]:
    splats, _, camera = random_scene("plain", n, SIZE, seed)
    return splats.to(torch.float32), camera.to(torch.float32)


LAYERS = {
    "deferred": {"total": 4, "indep": 4, "dep": 4},
    "direct": {"total": 5, "indep": 5},
    "harmonics": {"total": 3, "indep": 3, "dep": 3},
    "directional": {"total": 4, "indep": 4, "dep": 4},
    "reflected": {
        **dict.fromkeys(("total", "indep", "dep", "distant", "near", "normal", "tint"), 3),
        "roughness": 1,
    },
}


def test_shapes_of_channels_and_layers(kind, backend):
    splats, camera = scene()
    head, splats = example(kind, splats)
    assert head.kind == kind
    assert set(head.reads) <= set(splats.columns)
    channels = head.splat(splats, camera)
    assert channels.shape[0] == len(splats) and channels.dim() == 2
    for name, row in head.row_shapes(splats.columns).items():
        assert splats.columns[name].shape[1:] == row
    layers = render(FeatureField(splats, {"head": head}), camera, rasterizer=backend)["head"]
    assert {name: layer.shape for name, layer in layers.items()} == {
        name: (SIZE[1], SIZE[0], d) for name, d in LAYERS[kind].items()
    }
    assert all(layer.isfinite().all() for layer in layers.values())


def test_heads_read_nothing_but_what_they_say(kind):
    splats, camera = scene()
    head, splats = example(kind, splats, normals=False)
    bare = splats.without_columns(*(set(splats.columns) - set(head.reads)))
    assert torch.equal(head.splat(bare, camera), head.splat(splats, camera))
    for name in head.reads:
        with pytest.raises(KeyError, match=name):
            head.splat(bare.without_columns(name), camera)


def test_heads_survive_json_and_state_dict(kind):
    splats, camera = scene()
    head, splats = example(kind, splats)
    config = json.loads(json.dumps(head.config()))
    copy = head_from_config(kind, config)
    copy.load_state_dict(head.state_dict())
    assert copy.config() == head.config()
    old, new = (render(FeatureField(splats, {"head": h}), camera)["head"]["total"] for h in (head, copy))
    assert torch.equal(old, new)
    if head.state_dict():
        torch.manual_seed(1)
        fresh = render(FeatureField(splats, {"head": head_from_config(kind, config)}), camera)["head"][
            "total"
        ]
        assert not torch.allclose(fresh, old, atol=1e-2)


def test_unknown_heads_are_named():
    with pytest.raises(
        UnknownNameError, match=r"unknown head 'reflectd' .*did you mean 'reflected'.*known: deferred"
    ):
        head_from_config("reflectd", {})


@pytest.mark.parametrize("normals", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_a_moved_field_looks_the_same_to_moved_cameras(kind, normals, seed, backend):
    splats, camera = scene(seed)
    head, splats = example(kind, splats, normals=normals)
    move = random_similarity(seeded(seed + 9), scale=[1.0, 2.5, 0.4][seed])
    field = FeatureField(splats, {"head": head})
    there = field.moved(move)
    usual = render(field, camera, rasterizer=backend)
    seen = render(there, moved_camera(camera, move), rasterizer=backend)
    assert_mostly_close(seen.alpha, usual.alpha, tolerance=1e-4)
    assert_mostly_close(seen.depth / move.scale, usual.depth, tolerance=1e-3)
    for name, layer in usual["head"].items():
        wanted = layer @ move.rotation.T.float() if name == "normal" else layer
        assert_mostly_close(seen["head"][name], wanted, tolerance=2e-3, at_most=2e-2)
    if kind != "direct":  # what depends on the view, left as it was, does not look the same
        careless = FeatureField(splats.moved(move), {"head": head})
        wrong = render(careless, moved_camera(camera, move), rasterizer=backend)
        with pytest.raises(AssertionError):
            assert_mostly_close(wrong["head"]["total"], usual["head"]["total"], tolerance=2e-3)


def test_gradients_reach_every_column_and_weight_and_are_finite(kind, backend):
    """Pixels that nothing covers included, where means over coverage and unit normals are 0 / 0."""
    splats, camera = scene(n=25)
    head, splats = example(kind, splats)
    leaves = splats.each(lambda tensor: tensor.clone().requires_grad_())
    rendering = render(FeatureField(leaves, {"head": head}), camera, rasterizer=backend)
    assert float(rendering.alpha.detach().min()) < 1e-3
    generator = seeded(3)
    sum(
        (layer * torch.randn(layer.shape, generator=generator)).sum() for layer in rendering["head"].values()
    ).backward()
    for name, tensor in leaves.tensors().items():
        assert tensor.grad is not None and tensor.grad.isfinite().all(), name
        assert tensor.grad.any(), name
    for name, weight in head.named_parameters():
        assert weight.grad is not None and weight.grad.isfinite().all() and weight.grad.any(), name


def test_layers_add_up(kind, backend):
    splats, camera = scene()
    head, splats = example(kind, splats)
    layers = render(FeatureField(splats, {"head": head}), camera, rasterizer=backend)["head"]
    if kind == "direct":
        assert torch.equal(layers["total"], layers["indep"])
    elif kind == "reflected":  # light adds up before the display curve
        from featurefields.maths.colour import linear_from_srgb

        total, indep, dep = (linear_from_srgb(layers[name]) for name in ("total", "indep", "dep"))
        near = torch.sign(layers["near"]) * linear_from_srgb(layers["near"].abs())
        distant = linear_from_srgb(layers["indep"] + layers["distant"]) - indep
        torch.testing.assert_close(total, (indep + distant + near).relu(), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(dep, (distant + near).relu(), atol=1e-5, rtol=1e-4)
        assert (distant + near < -1e-3).any() and (near > 1e-3).any()
        assert dep.min().item() >= 0 and dep.max().item() > 0.05
    else:
        torch.testing.assert_close(layers["total"], layers["indep"] + layers["dep"])
        assert float(layers["dep"].detach().abs().max()) > 0.05


def test_a_gaussian_by_itself_is_what_its_own_picture_shows(kind):
    """In the middle of a picture that an opaque Gaussian fills, as seen by cameras that do not look straight at it."""
    splats, _ = scene()
    head, splats = example(kind, splats)
    splats = replace(
        splats, log_scales=torch.full_like(splats.log_scales, -1.0),
        opacity_logits=torch.full_like(splats.opacity_logits, 30.0),
    )  # fmt: skip
    checked = 0
    for seed in range(3):
        camera = scene(seed)[1]
        together = head.at_gaussians(splats, camera)
        for row in range(4):
            alone = splats.select(torch.tensor([row]))
            (pixel,), (depth,) = camera.project(alone.means)
            if depth < 0.2:
                continue
            off_axis = replace(camera, centre_px=camera.centre_px - pixel + torch.tensor([11.5, 8.5]))
            layers = render(FeatureField(alone, {"head": head}), off_axis)["head"]
            checked += 1
            assert set(layers) == set(together)
            for name, layer in layers.items():
                torch.testing.assert_close(layer[8, 11], together[name][row], atol=5e-3, rtol=5e-3)
    assert checked > 4


def test_matter_is_the_view_independent_layer_of_every_gaussian(kind):
    splats, camera = scene()
    head, splats = example(kind, splats)
    matter = head.matter(splats)
    if matter is None:
        assert kind in ("deferred", "directional")
        return
    torch.testing.assert_close(matter, head.at_gaussians(splats, camera)["indep"], atol=1e-5, rtol=1e-5)


def test_uncovered_pixels_show_no_features():
    for kind in ("deferred", "direct", "directional"):
        splats, camera = scene(n=8)
        head, splats = example(kind, splats)
        rendering = render(FeatureField(splats, {"f": head}), camera)
        bare = rendering.alpha == 0
        assert bare.any() and not bare.all()
        assert not any(layer[bare].any() for layer in rendering["f"].values())


def test_a_deferred_head_that_starts_at_nothing_learns_to_depend_on_the_view():
    splats, camera = scene()
    head, splats = example("deferred", splats)
    assert isinstance(head, DeferredHead)
    head.start_at_nothing()
    layers = render(FeatureField(splats, {"f": head}), camera)["f"]
    assert not layers["dep"].any() and torch.equal(layers["total"], layers["indep"])
    layers["dep"].sum().backward()
    assert head.network[-1].weight.grad.any()


def test_a_deferred_head_without_normals_sees_directions_and_without_roughness_mirrors():
    splats, camera = scene()
    head, bare = example("deferred", splats, normals=False)
    alone = head.at_gaussians(bare, camera)["dep"]
    smooth = bare.with_columns(roughness=torch.full((len(bare), 1), -40.0))
    torch.testing.assert_close(head.at_gaussians(smooth, camera)["dep"], alone)
    rough = bare.with_columns(roughness=torch.full((len(bare), 1), 3.0))
    assert not torch.allclose(head.at_gaussians(rough, camera)["dep"], alone, atol=1e-3)
    moved = replace(camera, world_from_camera=scene(2)[1].world_from_camera)
    assert not torch.allclose(head.at_gaussians(bare, moved)["dep"], alone, atol=1e-3)


def test_direct_heads_show_the_mean_of_their_column(backend):
    splats, camera = scene(n=8)
    head, splats = example("direct", splats)
    splats = splats.with_columns(feature=torch.full((8, 5), 0.7))
    rendering = render(FeatureField(splats, {"f": head}), camera, rasterizer=backend)
    covered = rendering.alpha > 1e-2
    assert covered.any() and not covered.all()
    shown = rendering["f"]["total"][covered]
    torch.testing.assert_close(shown, torch.full_like(shown, 0.7), atol=1e-4, rtol=0)
    assert not rendering["f"]["total"][rendering.alpha == 0].any()


def test_harmonics_of_a_lower_degree_leave_out_the_higher_bands():
    splats, camera = scene()
    _, splats = example("harmonics", splats)
    low = HarmonicsHead(degree=1)
    cut = splats.with_columns(harmonics=splats.columns["harmonics"][:, :4])
    assert torch.equal(low.splat(splats, camera), low.splat(cut, camera))
    flat = HarmonicsHead(degree=0).splat(splats, camera)
    assert torch.equal(flat[:, :3], flat[:, 3:])
    other = scene(2)[1]
    assert torch.equal(HarmonicsHead(degree=0).splat(splats, other), flat)
    assert not torch.allclose(low.splat(splats, other), low.splat(splats, camera), atol=1e-2)
    assert float(low.splat(splats, camera).min()) >= 0


def test_a_directional_head_with_a_constant_turns_and_shows_it():
    splats, camera = scene()
    generator = seeded(4)
    head = DirectionalHead("f", 1, constant=True)
    columns = {"f": torch.randn(60, 4, generator=generator), "f_centre": torch.zeros(60, 4)}
    slopes = torch.randn(60, 4, 4, generator=generator)
    splats = splats.with_columns(f_dep=slopes, **columns)
    flat = splats.with_columns(f_dep=slopes * torch.tensor([1.0, 0, 0, 0])[:, None])
    torch.testing.assert_close(head.splat(flat, camera)[:, 4:], slopes[:, 0])
    plain = splats.with_columns(f_dep=slopes[:, 1:], f_centre=torch.zeros(60, 3))
    without = DirectionalHead("f", 1).splat(plain, camera)[:, 4:]
    torch.testing.assert_close(head.splat(splats, camera)[:, 4:], without + slopes[:, 0])
    move = random_similarity(seeded(9), scale=1.7)
    field = FeatureField(splats, {"f": head})
    seen = render(field.moved(move), moved_camera(camera, move))["f"]
    assert_mostly_close(seen["dep"], render(field, camera)["f"]["dep"], tolerance=2e-3, at_most=2e-2)


@pytest.mark.parametrize("degree", [1, 2, 3])
@pytest.mark.parametrize("normals", [True, False])
def test_the_reflective_part_averages_to_nothing_over_the_views_that_made_its_centre(degree, normals):
    splats, _ = scene()
    generator = seeded(degree)
    k = harmonics_count(degree) - 1
    splats = splats.with_columns(
        f=torch.randn(60, 4, generator=generator), f_dep=torch.randn(60, k, 4, generator=generator)
    )
    if normals:
        splats = splats.with_columns(normals=unit_vectors(60, generator).float())
    head = DirectionalHead("f", degree)
    cameras = [scene(seed)[1] for seed in range(5)]
    centre = torch.stack([head.basis(splats, camera) for camera in cameras]).mean(0)
    splats = splats.with_columns(f_centre=centre)
    parts = torch.stack([head.splat(splats, camera) for camera in cameras])
    assert torch.equal(parts[0, :, :4], splats.columns["f"])
    torch.testing.assert_close(parts[..., 4:].mean(0), torch.zeros(60, 4), atol=1e-5, rtol=0)
    assert parts[..., 4:].abs().mean() > 0.05
    off_centre = splats.with_columns(f_centre=centre + 0.1)
    assert torch.stack([head.splat(off_centre, c) for c in cameras])[..., 4:].mean(0).abs().max() > 0.05


def reflected(**changes: float) -> tuple[ReflectedHead, FeatureField, Camera]:
    """A field with a reflecting head, some columns set to one number."""
    splats, camera = scene()
    head, splats = example("reflected", splats)
    changed = {name: torch.full_like(splats.columns[name], value) for name, value in changes.items()}
    assert isinstance(head, ReflectedHead)
    return head, FeatureField(splats.with_columns(**changed), {"rgb": head}), camera


def test_without_gloss_there_is_no_reflection(backend):
    _, field, camera = reflected(gloss=-30.0)
    layers = render(field, camera, rasterizer=backend)["rgb"]
    assert float(layers["dep"].detach().abs().max()) < 1e-6
    torch.testing.assert_close(layers["total"], layers["indep"], atol=1e-6, rtol=0)
    _, field, camera = reflected(gloss=0.0)
    assert float(render(field, camera, rasterizer=backend)["rgb"]["dep"].detach().max()) > 0.05


def test_what_does_not_depend_on_the_view_is_matter_and_sky():
    _, field, camera = reflected()
    layers = render(field, camera)["rgb"]
    _, other, _ = reflected(tint=0.7, roughness=-3.0, gloss=2.0, near=0.2)
    changed = render(other, camera)["rgb"]
    torch.testing.assert_close(changed["indep"], layers["indep"])
    assert float((changed["total"] - layers["total"]).detach().abs().max()) > 0.05


def test_what_mirrors_less_than_glass_has_little_near_light():
    shown = {}
    for share in (0.1, 0.5, 1.0, 4.0):
        logit = float(torch.logit(torch.tensor(share * DIELECTRIC)))
        head, field, camera = reflected(tint=logit, near=0.1, gloss=0.0)
        towards = torch.nn.functional.normalize(field.splats.means - camera.position, dim=-1)
        shown[share] = float(head.near_light(field.splats, towards).abs().mean())
    assert shown[1.0] == pytest.approx(shown[4.0]) and shown[1.0] > 0.01
    assert shown[0.1] == pytest.approx(0.1 * shown[1.0], rel=1e-3)
    assert shown[0.5] == pytest.approx(0.5 * shown[1.0], rel=1e-3)


def test_near_light_averages_to_nothing_over_the_viewpoints_it_was_centred_on():
    head, field, _ = reflected(tint=2.0, gloss=0.0)
    splats = field.splats
    normals = torch.nn.functional.normalize(splats.columns["normals"], dim=-1)
    positions = torch.stack([scene(seed)[1].position for seed in range(5)])
    splats = splats.with_columns(near_centre=head.near_centre(splats, positions))
    total, size = torch.zeros(len(splats), 3), torch.zeros(len(splats), 3)
    for position in positions:
        towards = torch.nn.functional.normalize(splats.means - position, dim=-1)
        weight = (-(towards * normals).sum(-1, keepdim=True)).clamp(min=1e-3)
        total += weight * head.near_light(splats, towards)
        size += weight * head.near_light(splats, towards).abs()
    assert float(total.abs().max()) < 1e-5 < 0.005 < float(size.mean())


def test_a_head_without_near_light_reads_no_columns_of_it():
    head, field, camera = reflected()
    plain = ReflectedHead(near=0, walls=True)
    plain.load_state_dict(head.state_dict())
    assert {"near", "near_centre"} & set(plain.reads) == set()
    still = field.splats.with_columns(near=torch.zeros_like(field.splats.columns["near"]))
    wanted = render(FeatureField(still, {"rgb": head}), camera)["rgb"]["total"]
    bare = field.splats.without_columns("near", "near_centre")
    assert torch.equal(render(FeatureField(bare, {"rgb": plain}), camera)["rgb"]["total"], wanted)


def test_the_sky_shows_where_nothing_covers_it():
    head, field, camera = reflected()
    empty = FeatureField(field.splats.select(torch.arange(0)), field.heads)
    sky = render(empty, camera)["rgb"]["indep"]
    assert float(sky.detach().std()) > 0.01
    black = FeatureField(empty.splats, {"rgb": head.without_surroundings()})
    assert not render(black, camera)["rgb"]["total"].any()
    assert head.sky and render(empty, camera)["rgb"]["indep"].any()  # the head itself is as it was


@pytest.mark.parametrize("light", ["map", "network"])
def test_initial_columns_show_the_colours_as_matter(light):
    splats, camera = scene(n=200)
    generator = seeded(5)
    colours = torch.rand(200, 3, generator=generator) * 0.9 + 0.05
    torch.manual_seed(1)
    head = ReflectedHead(light, sky=False)
    splats = splats.with_columns(**head.initial_columns(colours, unit_vectors(200, generator).float()))
    torch.testing.assert_close(
        diffuse_from_logit(splats.columns["diffuse"]) ** (1 / 2.4),
        ((colours + 0.055) / 1.055),
        atol=0.02,
        rtol=0,
    )
    layers = render(FeatureField(splats, {"rgb": head}), camera)["rgb"]
    matter, mirrored = (float((layers[name].detach() ** 2.2).mean()) for name in ("indep", "dep"))
    assert (
        0 < mirrored < 0.7 * matter
    )  # half of the normals look away, and along a surface lacquer mirrors all


def test_diffuse_logits_there_and_back():
    diffuse = torch.linspace(0.001, 0.98, 100)
    torch.testing.assert_close(diffuse_from_logit(logit_from_diffuse(diffuse)), diffuse, atol=1e-5, rtol=0)
    assert logit_from_diffuse(torch.tensor([-1.0, 0.0, 1.0, 2.0])).isfinite().all()


def test_one_pass_for_all_heads_is_one_pass_for_each(backend):
    splats, camera = scene()
    heads = {}
    for kind in HEADS.entries:
        heads[kind], splats = example(kind, splats)
    field = FeatureField(splats, heads)
    together = render(field, camera, rasterizer=backend)
    assert list(together.layers) == list(heads)
    for kind in heads:
        alone = render(field, camera, rasterizer=backend, heads=[kind])
        assert list(alone.layers) == [kind]
        torch.testing.assert_close(alone.depth, together.depth, atol=1e-5, rtol=1e-5)
        for name, layer in alone[kind].items():
            torch.testing.assert_close(together[kind][name], layer, atol=1e-4, rtol=1e-4)


def test_all_heads_move_together():
    """Columns that several heads read and turn are turned once."""
    splats, camera = scene()
    heads = {}
    for kind in HEADS.entries:
        heads[kind], splats = example(kind, splats)
    move = random_similarity(seeded(30), scale=1.7)
    field = FeatureField(splats, heads)
    usual, seen = render(field, camera), render(field.moved(move), moved_camera(camera, move))
    for kind in heads:
        assert_mostly_close(seen[kind]["total"], usual[kind]["total"], tolerance=2e-3, at_most=2e-2)


def test_rasterizers_are_chosen_by_the_device_of_the_splats():
    splats, camera = scene()
    head, splats = example("direct", splats)
    field = FeatureField(splats, {"f": head})
    chosen = render(field, camera, rasterizer=choose_rasterizer("cpu"))
    assert torch.equal(render(field, camera)["f"]["total"], chosen["f"]["total"])
