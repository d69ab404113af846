"""What deletion takes along, and what pictures show in place of what is gone."""

import math
from dataclasses import replace

import pytest
import torch
from tiny_fields import BALLS, coverage, floor, looking, part, splats_at, two_balls
from torch import Tensor

from featurefields.editing.edits import Delete, Hide, Move, apply
from featurefields.editing.history import Edited, step_of
from featurefields.editing.holes import Holes
from featurefields.editing.residue import residue
from featurefields.field import About, FeatureField
from featurefields.heads.harmonics import HarmonicsHead
from featurefields.raster import choose_rasterizer
from featurefields.splats import concatenate

CPU = choose_rasterizer("cpu")
RED = torch.tensor(BALLS["red"])


def with_extra(field: FeatureField, means: Tensor, *, scale: float, opacity: float) -> FeatureField:
    """`two_balls("harmonics")` and further grey Gaussians at the end."""
    columns = {name: column[: len(means)] for name, column in field.splats.columns.items()}
    extra = splats_at(means, scale=scale, opacity=opacity, **columns)
    return field.with_splats(concatenate([field.splats, extra]))


def rows_of(field: FeatureField, name: str) -> Tensor:
    """A part of the balls, among further Gaussians."""
    mask = torch.zeros(len(field), dtype=torch.bool)
    mask[:264] = part(name)
    return mask


def halo(count: int = 24) -> Tensor:
    """Places just outside the red ball, in its upper half."""
    index = torch.arange(count) + 0.5
    height, turn = index / count, index * 2.399963
    flat = (1 - height**2).sqrt()
    return RED + 0.42 * torch.stack([flat * turn.cos(), flat * turn.sin(), height], -1)


@pytest.fixture(params=["seen by cameras", "without cameras"])
def field(request: pytest.FixtureRequest) -> FeatureField:
    field = two_balls("harmonics")
    return field if request.param == "seen by cameras" else replace(field, about=About())


class TestResidue:
    def test_a_clean_object_leaves_nothing(self, field: FeatureField):
        for name in ("red", "blue"):
            assert not bool(residue(field, part(name)).any())

    def test_a_veil_goes_with_its_object(self, field: FeatureField):
        veiled = with_extra(field, halo(), scale=0.06, opacity=0.25)
        found = residue(veiled, rows_of(veiled, "red"))
        assert int(found[264:].sum()) >= 20 and not bool(found[:264].any())
        assert not bool(residue(veiled, rows_of(veiled, "blue"))[264:].any()), "the other object's is not"

    def test_a_solid_thing_in_front_stays(self, field: FeatureField):
        """The same places, opaque and many: a thing of its own that touches the ball and hides it."""
        block = torch.cartesian_prod(*[torch.linspace(-0.12, 0.12, 5)] * 3)
        thing = RED + torch.tensor([0.55, 0.0, -0.2]) + block
        with_thing = with_extra(field, thing, scale=0.06, opacity=0.97)
        assert not bool(residue(with_thing, rows_of(with_thing, "red")).any())

    def test_bits_that_hang_in_the_air_go(self, field: FeatureField):
        """A knob on the ball that touches nothing else; the same knob also on the floor beside it stays."""
        knob = RED + torch.tensor([0.0, 0.0, 0.44]) + 0.01 * torch.arange(3)[:, None] * torch.ones(3)
        with_knob = with_extra(field, knob, scale=0.012, opacity=0.97)
        reach = with_knob.splats.log_scales.clone()
        reach[264:] = math.log(0.012)
        with_knob = with_knob.with_splats(replace(with_knob.splats, log_scales=reach))
        found = residue(with_knob, rows_of(with_knob, "red"))
        assert bool(found[264:].all()) and not bool(found[:264].any())
        beside = torch.tensor([[1.2, 0.0, 0.02]]) + 0.01 * torch.arange(3)[:, None] * torch.ones(3)
        with_crumb = with_extra(field, beside, scale=0.012, opacity=0.97)
        assert not bool(residue(with_crumb, rows_of(with_crumb, "red")).any())

    def test_what_stood_on_a_thing_stays(self, field: FeatureField):
        found = residue(field, part("floor"))
        assert not bool(found.any()), "both balls stay where they are when the floor goes"

    @pytest.mark.parametrize("everything", [True, False])
    def test_of_everything_and_nothing_there_is_none(self, field: FeatureField, everything: bool):
        mask = torch.full((264,), everything)
        assert not bool(residue(field, mask).any())

    def test_delete_takes_it_along_when_asked_to(self, field: FeatureField):
        veiled = with_extra(field, halo(), scale=0.06, opacity=0.25)
        rows = rows_of(veiled, "red")
        clean, exact = (len(apply(Delete(clean), veiled, rows)) for clean in (True, False))
        assert exact == 264 + 24 - 60 and clean == exact - int(residue(veiled, rows).sum()) < exact - 19

    def test_a_step_remembers_what_went_along(self, field: FeatureField):
        """Replaying does not look again: the step holds everyone that went, and is an exact deletion."""
        veiled = with_extra(field, halo(), scale=0.06, opacity=0.25)
        start, rows = Edited.start(veiled), rows_of(veiled, "red")
        step = step_of(Delete(clean_up=True), start, rows)
        assert step.edit == Delete() and step.who is not None
        assert torch.equal(step.who, rows | residue(veiled, rows))
        assert len(start.after(step).field) == len(apply(Delete(True), veiled, rows))


class TestHoles:
    def looked(self, field: FeatureField, edited: Edited, camera) -> tuple[Tensor, Tensor]:
        hole = Holes.between(field, edited, field.about.cameras.values(), CPU).seen_by(camera, CPU)
        assert not bool((hole.missing & hole.revealed).any())
        assert torch.equal(hole.touched, hole.missing | hole.revealed)
        return hole.missing, hole.revealed

    @pytest.mark.parametrize("edit", [Delete(), Hide(), Move((0.0, 0.0, 50.0))])
    def test_the_floor_that_was_seen_is_revealed_and_nothing_is_missing(self, edit):
        field, rows = two_balls("harmonics"), part("red")
        camera = looking((3.0, -0.4, 1.6))
        edited = Edited.start(field).after(step_of(edit, Edited.start(field), rows))
        missing, revealed = self.looked(field, edited, camera)
        touched = coverage(field, camera, rows) > 0.1
        assert torch.equal(missing | revealed, touched) and int(touched.sum()) > 30
        rest = field.with_splats(field.splats.select(~rows))
        beyond = coverage(rest, camera, torch.ones(len(rest))) < 0.4
        assert int((touched & beyond).sum()) > 5 and bool(missing[touched & beyond].all()), (
            "nothing is behind"
        )
        assert float(revealed[touched & ~beyond].float().mean()) > 0.6, "the floor that others saw"

    def test_what_no_view_saw_is_a_guess(self):
        """Solid junk inside a box-like shell: shown when the shell goes, but never seen before."""
        means, normals = floor(12, 0.5)
        lid = splats_at(means + torch.tensor([0.0, 0.0, 0.3]), scale=0.1, opacity=0.99, normals=normals)
        under = splats_at(means, scale=0.1, opacity=0.99, normals=normals)
        splats = concatenate([lid, under]).with_columns(harmonics=torch.zeros(288, 1, 3))
        above = {f"{x}": looking((0.4 * x - 0.4, 0.1, 3.0), (0.0, 0.0, 0.3)) for x in range(3)}
        field = FeatureField(splats, {"rgb": HarmonicsHead(0)}, About(cameras=above))
        rows = torch.arange(288) < 144
        start = Edited.start(field)
        edited = start.after(step_of(Delete(), start, rows))
        missing, revealed = self.looked(field, edited, above["1"])
        middle = (slice(15, 25), slice(15, 25))
        assert bool(missing[middle].all()) and not bool(revealed[middle].any())
        known = field.about.cameras | {
            f"below {x}": looking((0.3 * x, 0.2, -3.0), (0.0, 0.0, 0.0)) for x in range(3)
        }
        seen = replace(field, about=About(cameras=known))
        missing, revealed = self.looked(seen, edited, above["1"])
        assert bool(revealed[middle].all()), "the same, once views from below saw it"

    def test_views_that_did_not_show_it_have_no_hole(self):
        field, start = two_balls("harmonics"), Edited.start(two_balls("harmonics"))
        edited = start.after(step_of(Delete(), start, part("red")))
        away = looking((0.0, 3.0, 1.0), (0.0, 6.0, 1.0))
        missing, revealed = self.looked(field, edited, away)
        assert not bool(missing.any()) and not bool(revealed.any())
