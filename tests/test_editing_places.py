"""What is moved, turned, scaled or duplicated looks as such a thing would, and comes back."""

import math
from dataclasses import replace

import pytest
import torch
from tiny_fields import looking, part, picture, two_balls
from torch import Tensor

from featurefields.editing.edits import Delete, Duplicate, Edit, Hide, Move, Rotate, Scale, Show, apply
from featurefields.editing.places import centre_of
from featurefields.editing.presence import HIDDEN, hidden_rows
from featurefields.errors import PromptError
from featurefields.field import FeatureField
from featurefields.heads.directional import DirectionalHead
from featurefields.maths.rotations import matrix_from_quat
from featurefields.maths.similarity import Similarity

VIEWS = [looking((3.0, 0.0, 1.6)), looking((-1.0, 2.5, 1.2))]
KINDS = ["reflected", "harmonics"]
THERE_AND_BACK: dict[str, tuple[Edit, Edit]] = {
    "move": (Move((0.3, -0.2, 0.5)), Move((-0.3, 0.2, -0.5))),
    "rotate": (Rotate(73.0, (1.0, 2.0, -0.5)), Rotate(-73.0, (1.0, 2.0, -0.5))),
    "scale": (Scale(1.7), Scale(1 / 1.7)),
}


def everything(field: FeatureField) -> Tensor:
    return torch.ones(len(field), dtype=torch.bool)


def rich(kind: str) -> FeatureField:
    """`two_balls` with everything that can turn: bands or normals, and features that depend on the direction."""
    field = two_balls(kind, gloss=-1.0)
    generator = torch.Generator().manual_seed(3)
    columns = {
        "feature_dep": torch.randn(264, 8, 4, generator=generator),
        "feature_centre": torch.randn(264, 8, generator=generator),
    }
    heads = {**field.heads, "feature": DirectionalHead("feature", degree=2)}
    turned = Similarity(2.5, matrix_from_quat(torch.tensor([0.8, 0.1, -0.5, 0.2])), torch.tensor([1.0, 2, 3]))
    about = replace(field.about, world_from_capture=turned)
    return FeatureField(field.splats.with_columns(**columns), heads, about)


def same_rows(before: FeatureField, after: FeatureField, rows: Tensor) -> bool:
    one, other = before.splats.tensors(), after.splats.tensors()
    return one.keys() == other.keys() and all(torch.equal(one[k][rows], other[k][rows]) for k in one)


def alike(one: FeatureField, other: FeatureField, tolerance: float = 2e-5) -> bool:
    """Whether all columns are the same to float precision; quaternions as rotations."""
    first, second = one.splats.tensors(), other.splats.tensors()
    first["quats"], second["quats"] = (matrix_from_quat(t["quats"]) for t in (first, second))
    return all(torch.allclose(first[k], second[k], atol=tolerance, rtol=tolerance) for k in first)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", THERE_AND_BACK)
class TestThereAndBack:
    def test_is_the_identity(self, name: str, kind: str):
        field, rows = rich(kind), part("red")
        there, back = THERE_AND_BACK[name]
        away = apply(there, field, rows)
        assert not alike(field, away, 1e-3)
        home = apply(back, away, rows)
        assert alike(field, home) and same_rows(field, home, ~rows)
        for view in VIEWS:
            assert torch.allclose(picture(home, view), picture(field, view), atol=2e-4)

    def test_only_the_selected_move(self, name: str, kind: str):
        field, rows = rich(kind), part("blue")
        before = field.splats.each(torch.clone)
        away = apply(THERE_AND_BACK[name][0], field, rows)
        assert same_rows(field, away, ~rows) and not bool(
            (away.splats.means == field.splats.means)[rows].all(-1).any()
        )
        assert same_rows(field, field.with_splats(before), everything(field)), "the input is not changed"
        assert away.about is field.about and away.heads is field.heads

    def test_of_nothing_is_nothing(self, name: str, kind: str):
        field = rich(kind)
        assert same_rows(field, apply(THERE_AND_BACK[name][0], field, ~everything(field)), everything(field))


class TestTurning:
    @pytest.mark.parametrize("kind", KINDS)
    def test_everything_that_has_a_direction_turns(self, kind: str):
        """Turned by itself, a whole field has the columns of a field in a turned world."""
        field, degrees, axis = rich(kind), 50.0, torch.tensor([0.3, 0.9, -0.2])
        turned = apply(
            Rotate(degrees, tuple(axis.tolist()), "world"),  # type: ignore[arg-type]
            field,
            everything(field),
        )
        half = math.radians(degrees) / 2
        quat = torch.cat([torch.tensor([math.cos(half)]), math.sin(half) * axis / axis.norm()])
        rotation, centre = matrix_from_quat(quat), centre_of(field.splats, everything(field)).float()
        world = field.moved(Similarity(1.0, rotation, centre - rotation @ centre))
        assert alike(turned, world)
        names = {"feature_dep", "feature_centre"} | ({"harmonics"} if kind == "harmonics" else {"normals"})
        for name in names:
            assert not torch.allclose(turned.splats.columns[name], field.splats.columns[name], atol=0.02), (
                f"{name} turned"
            )

    def test_harmonics_look_the_same_from_where_the_camera_turned_too(self):
        field = two_balls("harmonics")
        turned = apply(Rotate(40.0, (0.0, 0.0, 1.0)), field, everything(field))
        rotation = matrix_from_quat(
            torch.tensor([math.cos(math.radians(20)), 0, 0, math.sin(math.radians(20))])
        )
        centre = centre_of(field.splats, everything(field)).float()
        motion = Similarity(1.0, rotation, centre - rotation @ centre)
        for view in (looking((2.7, 0.9, 1.6)), looking((-1.1, 2.5, 1.2))):  # nothing equally far away
            followed = replace(view, world_from_camera=motion.pose(view.world_from_camera))
            assert torch.allclose(picture(turned, followed), picture(field, view), atol=2e-3)
            assert not torch.allclose(picture(turned, view), picture(field, view), atol=0.05)

    def test_a_quarter_turn_about_z_takes_x_to_y(self):
        field = two_balls()
        turned = apply(Rotate(90.0, (0.0, 0.0, 2.0)), field, part("red"))
        centre = centre_of(field.splats, part("red")).float()
        x, y, z = (field.splats.means[part("red")] - centre).unbind(-1)
        assert torch.allclose(
            turned.splats.means[part("red")] - centre, torch.stack([-y, x, z], -1), atol=1e-5
        )


class TestFrames:
    def test_photos_have_axes_and_a_unit_of_their_own(self):
        field = rich("reflected")
        capture = field.about.world_from_capture
        by, rows = (0.1, 0.2, -0.3), part("red")
        moved = {frame: apply(Move(by, frame), field, rows) for frame in ("photos", "world")}  # type: ignore[arg-type]
        steps = {frame: (f.splats.means - field.splats.means)[rows] for frame, f in moved.items()}
        vector = torch.tensor(by)
        assert torch.allclose(steps["world"], vector.expand(60, 3), atol=1e-5)
        assert torch.allclose(steps["photos"], (2.5 * capture.rotation @ vector).expand(60, 3), atol=1e-5)
        exported = [
            f.about.world_from_capture.inverse.points(f.splats.means) for f in (moved["photos"], field)
        ]
        assert torch.allclose((exported[0] - exported[1])[rows], vector.expand(60, 3), atol=1e-5)

    def test_an_axis_of_the_photos_is_turned_into_the_world(self):
        field, rows = rich("reflected"), part("red")
        axis = tuple((field.about.world_from_capture.rotation @ torch.tensor([0.0, 0.0, 1.0])).tolist())
        one = apply(Rotate(30.0), field, rows)
        assert alike(one, apply(Rotate(30.0, axis, "world"), field, rows))  # type: ignore[arg-type]
        assert not alike(one, apply(Rotate(30.0, frame="world"), field, rows), 1e-2)


def test_scaling_is_about_the_centre_and_keeps_shapes():
    field, rows = two_balls(), part("red")
    larger = apply(Scale(2.0), field, rows).splats
    centre = centre_of(field.splats, rows).float()
    assert torch.allclose(centre_of(larger, rows).float(), centre, atol=1e-5)
    assert torch.allclose(larger.means[rows] - centre, 2 * (field.splats.means[rows] - centre), atol=1e-5)
    assert torch.allclose(larger.scales[rows], 2 * field.splats.scales[rows], rtol=1e-5)


def test_one_huge_floater_does_not_pull_the_centre_away():
    field, rows = two_balls(), part("red").clone()
    centre = centre_of(field.splats, rows)
    means, sizes = field.splats.means.clone(), field.splats.log_scales.clone()
    means[200], sizes[200], rows[200] = torch.tensor([0.0, 3.0, 0.0]), math.log(5.0), True
    far = replace(field.splats, means=means, log_scales=sizes)
    assert float((centre_of(far, rows) - centre).norm()) < 0.6
    plain = (far.footprints[rows, None] * means[rows]).sum(0) / far.footprints[rows].sum()
    assert float((plain - centre).norm()) > 3.0, "what would be without the cut"


class TestDuplicate:
    @pytest.mark.parametrize("kind", KINDS)
    def test_the_copy_comes_last_and_is_the_original_elsewhere(self, kind: str):
        field, rows = rich(kind), part("blue")
        doubled = apply(Duplicate((0.0, 0.5, 0.1)), field, rows)
        assert len(doubled) == 264 + 60
        old = torch.arange(324) < 264
        first = doubled.with_splats(doubled.splats.select(old))
        assert same_rows(field, first, everything(field))
        moved = apply(Move((0.0, 0.5, 0.1)), field, rows).splats.select(rows)
        assert all(
            torch.equal(tensor, moved.tensors()[name])
            for name, tensor in doubled.splats.select(~old).tensors().items()
        )

    def test_deleting_the_copy_leaves_the_original(self):
        field = rich("reflected")
        doubled = apply(Duplicate((0.0, 0.5, 0.1)), field, part("blue"))
        back = apply(Delete(), doubled, torch.arange(324) >= 264)
        assert same_rows(field, back, everything(field))


class TestHiding:
    @pytest.mark.parametrize("kind", KINDS)
    def test_hidden_is_not_drawn_and_shown_is_as_it_was(self, kind: str):
        field, rows = rich(kind), part("red")
        hidden = apply(Hide(), field, rows)
        gone = apply(Delete(), field, rows)
        for view in VIEWS:
            assert torch.allclose(picture(hidden, view), picture(gone, view), atol=1e-5)
        assert torch.equal(hidden_rows(hidden.splats), rows) and not bool(hidden_rows(field.splats).any())
        back = apply(Show(), hidden, everything(field))
        assert same_rows(field, back, everything(field)), "bit for bit, and without the column"

    def test_a_part_comes_back_and_twice_hidden_is_once(self):
        field = two_balls()
        hidden = apply(Hide(), apply(Hide(), field, part("red")), part("red") | part("blue"))
        partly = apply(Show(), hidden, part("red"))
        assert torch.equal(hidden_rows(partly.splats), part("blue"))
        assert torch.equal(
            partly.splats.opacity_logits[part("red")], field.splats.opacity_logits[part("red")]
        )
        assert bool((partly.splats.opacity_logits[part("blue")] == HIDDEN).all())
        assert same_rows(field, apply(Show(), partly, everything(field)), everything(field))

    def test_showing_what_is_not_hidden_is_nothing(self):
        field = two_balls()
        assert apply(Show(), field, everything(field)) is field


IMPOSSIBLE = {
    r"three numbers of --move must be finite": lambda: Move((0.0, math.nan, 0.0)),
    r"degrees of --rotate must be finite": lambda: Rotate(math.inf),
    r"--axis is a direction and may not be 0,0,0": lambda: Rotate(1.0, (0.0, 0.0, 0.0)),
    r"factor of --scale must be above 0, got 0": lambda: Scale(0.0),
    r"copy of --duplicate needs a name": lambda: Duplicate((0.0, 0.0, 0.0), name=" "),
}


@pytest.mark.parametrize("message", IMPOSSIBLE)
def test_what_is_impossible_cannot_be_made(message: str):
    with pytest.raises(PromptError, match=message) as caught:
        IMPOSSIBLE[message]()
    assert "\n" not in str(caught.value)
