"""What browsers get: cameras, pictures, splats; and what their events, forms and paths mean."""

import base64
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_fields import coverage, looking, part, photograph, picture, two_balls

from featurefields.editing.edits import KINDS, Move, RemoveSpecular
from featurefields.errors import PromptError
from featurefields.field import FeatureField
from featurefields.maths.similarity import Similarity
from featurefields.raster import choose_rasterizer
from featurefields.readers import read_scene
from featurefields.segmentation.prompts import Box, Click, MaskPrompt, Scribble
from featurefields.selection import Selection
from featurefields.viewer.camera_list import CameraList, flown
from featurefields.viewer.cameras import Pose, nearest
from featurefields.viewer.document import Document
from featurefields.viewer.drawing import PHOTO, SIMILARITY, Mark, Painter, Seen
from featurefields.viewer.edit_forms import starting_values, words_of
from featurefields.viewer.palette import CURRENT, NAMED, NAMES, colour_of
from featurefields.viewer.prompting import inside, points_of, prompt_of
from featurefields.viewer.splats import browser_splats
from featurefields.viewer.stage import Stage
from featurefields.viewer.strip import around, strip_of

CPU = choose_rasterizer("cpu")
CAMERA = looking((3.0, 0.5, 1.6), size=(48, 40))


@pytest.fixture(scope="module")
def field() -> FeatureField:
    return two_balls(gloss=1.0)


@pytest.fixture(scope="module")
def painter(field: FeatureField) -> Painter:
    return Painter(field, CPU)


class TestCameras:
    def test_a_pose_and_its_camera_see_the_same(self):
        camera = Pose.of(CAMERA).camera(48)
        assert camera.size == CAMERA.size
        torch.testing.assert_close(camera.world_from_camera, CAMERA.world_from_camera, atol=1e-5, rtol=0)
        torch.testing.assert_close(camera.focal_px, CAMERA.focal_px)

    @pytest.mark.parametrize("aspect", [0.4, 1.0, 2.5])
    def test_the_longer_side_has_the_pixels(self, aspect: float):
        camera = replace(Pose.of(CAMERA), aspect=aspect).camera(100)
        assert max(camera.size) == 100 and camera.width / camera.height == pytest.approx(aspect, abs=0.03)

    def test_the_nearest_camera_looks_the_same_way(self, field: FeatureField):
        cameras = dict(field.about.cameras)
        for name, camera in cameras.items():
            assert nearest(cameras, camera) == name
        stage = Stage(Document(field, CPU), Painter(field, CPU))
        name, camera = list(cameras.items())[3]
        assert stage.photo_at(Pose.of(camera)) == name == stage.photo_near(Pose.of(camera))
        moved = replace(Pose.of(camera), position=(5.0, 5.0, 5.0))
        assert stage.photo_at(moved) is None

    def test_poses_are_near_when_place_and_turn_are(self):
        pose = Pose.of(CAMERA)
        other = replace(pose, wxyz=tuple(-part for part in pose.wxyz))  # the same turn
        assert pose.is_near(other, 1e-6) and not pose.is_near(other, 0.0)
        w, x, y, z = pose.wxyz
        assert not pose.is_near(replace(pose, wxyz=(x, w, y, z)), 1.0)
        assert not pose.is_near(replace(pose, position=(0.0, 0.0, 0.0)), 1.0)


class TestPictures:
    def test_the_layers_of_the_field_are_drawn(self, painter: Painter, field: FeatureField):
        assert painter.layers[:3] == ("colour", "matter (view-independent)", "reflections (view-dependent)")
        assert {"features", "normals", "roughness", "depth", SIMILARITY} < set(painter.layers)
        seen = Seen(field, (), torch.rand(len(field)))
        for layer in painter.layers:
            image = painter.picture(seen, CAMERA, layer)
            assert image.shape == (40, 48, 3) and 0 <= image.min() < image.max() <= 1, layer

    def test_the_colour_layer_is_what_render_gives(self, painter: Painter, field: FeatureField):
        image = painter.picture(Seen(field), CAMERA, "colour")
        torch.testing.assert_close(image, picture(field, CAMERA).clamp(0, 1))

    def test_marks_tint_what_they_mark(self, painter: Painter, field: FeatureField):
        plain = painter.picture(Seen(field), CAMERA, "colour")
        red, nothing = Mark(part("red"), CURRENT), Mark(torch.zeros(len(field), dtype=torch.bool), NAMED[0])
        marked = painter.picture(Seen(field, (red, nothing)), CAMERA, "colour")
        changed = (marked - plain).abs().amax(-1) > 0.02
        share = coverage(field, CAMERA, part("red"))
        assert changed[share > 0.6].all() and not changed[share < 0.02].float().mean() > 0.2
        assert torch.equal(painter.picture(Seen(field, (red,)), CAMERA, "colour", marked=False), plain)

    def test_similarity_is_bright_where_it_is_high(self, painter: Painter, field: FeatureField):
        score = part("red").float() * 2 - 1
        image = painter.picture(Seen(field, (), score), CAMERA, SIMILARITY).mean(-1)
        share = coverage(field, CAMERA, part("red"))
        assert image[share > 0.9].mean() > 2 * image[share < 0.05].mean()

    def test_a_photo_is_itself_from_where_it_was_taken(self, tmp_path: Path):
        scene = read_scene(photograph(tmp_path))
        painter = Painter(two_balls(), CPU, scene.views)
        view = scene.views[2]
        image = painter.picture(Seen(two_balls()), view.camera, PHOTO)
        torch.testing.assert_close(image, view.picture.image(), atol=0.01, rtol=0)
        wide = Pose.of(view.camera).camera(80)
        wide = replace(wide, size=(80, 40), centre_px=torch.tensor([40.0, 20.0]), focal_px=wide.focal_px / 2)
        assert (painter.picture(Seen(two_balls()), wide, PHOTO)[:, :5] == 0).all()  # beside the photo

    def test_selections_and_edits_are_seen(self, field: FeatureField):
        document = Document(field, CPU)
        stage = Stage(document, Painter(field, CPU))
        x, y = 24.0, 20.0
        document.prompt(Click(x, y, CAMERA))
        document.keep("a")
        assert [mark.colour for mark in stage.seen(original=True, marked=True).marks] == [
            CURRENT
        ]  # it is the same
        document.did(document.selections.invert())
        document.edit(Move((0.0, 0.0, 3.0), "world"), "a")
        before, after = stage.seen(original=True, marked=True), stage.seen(original=False, marked=True)
        assert [mark.colour for mark in before.marks] == [colour_of(0), CURRENT]
        assert before.field is field and not torch.equal(after.field.splats.means, field.splats.means)
        assert not stage.seen(original=False, marked=False).marks
        document.show("a", False)
        assert [mark.colour for mark in stage.seen(original=True, marked=True).marks] == [CURRENT]

    def test_what_was_edited_last_is_outlined_and_not_tinted(self, field: FeatureField):
        """A tint would hide what the edit did."""
        document = Document(field, CPU)
        stage = Stage(document, Painter(field, CPU))

        def tinted() -> bool:
            (mark,) = stage.seen(original=False, marked=True).marks
            return mark.strength > 0

        document.prompt(Click(24.0, 20.0, CAMERA))
        assert tinted()
        document.try_edit(RemoveSpecular(), "current selection")
        assert not tinted()
        document.give_up()
        assert tinted()
        document.edit(RemoveSpecular(), "current selection")
        assert not tinted()
        document.undo()
        assert tinted()
        document.redo()
        assert not tinted()
        document.prompt(Click(24.0, 20.0, CAMERA))
        assert tinted()


class TestBrowserSplats:
    def test_covariances_and_colours(self, field: FeatureField):
        arrays = browser_splats(Seen(field), CAMERA)
        count = len(field)
        assert arrays.centers.shape == (count, 3) and arrays.covariances.shape == (count, 3, 3)
        assert arrays.rgbs.dtype == np.float32 and arrays.rgbs.min() >= 0 and arrays.rgbs.max() <= 1
        values = np.linalg.eigvalsh(arrays.covariances.astype(np.float64))
        scales = np.sort(field.splats.log_scales.exp().square().numpy(), axis=1)
        np.testing.assert_allclose(values, scales, rtol=2e-3)
        red = arrays.rgbs[part("red").numpy()]
        assert (red[:, 0] > red[:, 2]).mean() > 0.9

    def test_the_faintest_are_left_out_and_marks_tint(self, field: FeatureField):
        faint = field.with_splats(replace(field.splats, opacity_logits=field.splats.opacity_logits.clone()))
        faint.splats.opacity_logits[:10] = -8.0
        assert len(browser_splats(Seen(faint), CAMERA).centers) == len(field) - 10
        plain, marked = (
            browser_splats(Seen(field, marks), CAMERA).rgbs for marks in ((), (Mark(part("blue"), CURRENT),))
        )
        changed = np.abs(marked - plain).max(-1) > 1e-3
        assert changed[part("blue").numpy()].all() and not changed[~part("blue").numpy()].any()


class TestEvents:
    def test_events_are_prompts_in_pixels(self):
        click = prompt_of("click", "0.5,0.25", CAMERA, positive=False)
        assert isinstance(click, Click) and (click.x, click.y, click.positive) == (24.0, 10.0, False)
        box = prompt_of("box", "0.75,0.5 0.5,0.5 0.25,0.25", CAMERA, positive=True)
        assert isinstance(box, Box) and (box.x0, box.y0, box.x1, box.y1) == (12.0, 10.0, 36.0, 20.0)
        stroke = prompt_of("stroke", "0.1,0.1 0.2,0.2", CAMERA, positive=True)
        assert isinstance(stroke, Scribble) and len(stroke.points) == 2
        lasso = prompt_of("lasso", "0,0 1,0 1,1 0,1", CAMERA, positive=True)
        assert isinstance(lasso, MaskPrompt) and lasso.mask.float().mean() > 0.9 and not lasso.whole
        prompt_of("click", "1.0,1.0", CAMERA, positive=True).check()  # the very corner is inside

    @pytest.mark.parametrize("points", ["", "a,b", "0.5", "0.5,0.5,0.5", "2,0", "-0.1,0", "nan,0"])
    def test_what_is_no_points_is_refused(self, points: str):
        with pytest.raises(PromptError):
            points_of(points)

    def test_unknown_events_and_empty_lassos_are_refused(self):
        with pytest.raises(PromptError, match="unknown kind"):
            prompt_of("jump", "0,0", CAMERA, positive=True)
        with pytest.raises(PromptError, match="no pixel"):
            prompt_of("lasso", "0.5,0.5 0.5,0.5", CAMERA, positive=True)

    def test_inside_is_even_odd(self):
        square = [(2.0, 2.0), (8.0, 2.0), (8.0, 8.0), (2.0, 8.0)]
        found = inside(square, (10, 10))
        assert found.sum() == 36 and found[2:8, 2:8].all()
        twice = inside([*square, *square], (10, 10))
        assert not twice.any()


class TestForms:
    @pytest.mark.parametrize("kind", KINDS)
    def test_every_edit_has_a_form_that_makes_one(self, kind: str):
        assert KINDS[kind](**starting_values(kind)).kind == kind and len(words_of(kind)) > 10


class TestStrip:
    def test_candidates_are_cropped_around_what_is_marked(self, painter: Painter, field: FeatureField):
        document = Document(field, CPU)
        document.prompt(Click(24.0, 20.0, CAMERA))
        chosen = [document.selections.candidate(1)] * 2
        text = strip_of(painter, field, chosen, Pose.of(CAMERA))
        head, data = text.removesuffix(")").split("base64,")
        assert head == "![candidates](data:image/jpeg;"
        assert Image.open(io.BytesIO(base64.b64decode(data))).width > 100

    def test_a_candidate_of_nearly_everything_makes_the_others_no_smaller(
        self, painter: Painter, field: FeatureField
    ):
        def size(*masks: torch.Tensor) -> tuple[int, int]:
            chosen = [Selection(mask, mask.float(), field.fingerprint(), {}) for mask in masks]
            data = strip_of(painter, field, chosen, Pose.of(CAMERA)).removesuffix(")").split("base64,")[1]
            return Image.open(io.BytesIO(base64.b64decode(data))).size

        ball, everything = part("red"), torch.ones(len(field), dtype=torch.bool)
        assert size(ball, everything) == size(ball, ball) != size(everything, everything)

    def test_around(self):
        mask = torch.zeros(300, 400, dtype=torch.bool)
        assert around(mask) == (slice(0, 300), slice(0, 400))
        mask[290:, 390:] = True
        rows, columns = around(mask)
        assert (
            rows.stop == 300
            and columns.stop == 400
            and rows.stop - rows.start == columns.stop - columns.start
        )


class TestPaths:
    def test_the_path_flies_through_its_places(self, field: FeatureField, tmp_path: Path):
        scaled = Similarity(0.5, torch.eye(3, dtype=torch.float64), torch.tensor([1.0, 2.0, 3.0]).double())
        field = replace(field, about=replace(field.about, world_from_capture=scaled))
        path, poses = (
            CameraList(seconds=0.5, fps=10.0),
            [Pose.of(camera) for camera in field.about.cameras.values()],
        )
        with pytest.raises(PromptError, match="two places"):
            path.write(tmp_path / "p.json", (64, 48))
        for pose in poses[:3]:
            path.add(pose, field)
        path.write(tmp_path / "p.json", (64, 48))
        cameras, fps = flown(tmp_path / "p.json", field)
        assert fps == 10 and len(cameras) == 11 and cameras[0].size == (64, 48)
        for camera, pose in zip(cameras[::5], poses, strict=False):
            np.testing.assert_allclose(camera.position.numpy(), pose.position, atol=1e-4)
            assert Pose.of(camera).fov == pytest.approx(pose.fov, abs=1e-4)
        assert json.loads((tmp_path / "p.json").read_text())["closed"] is False


def test_colours_are_apart_for_everybody():
    """Okabe and Ito's colours differ in lightness or in the blue-yellow direction, which nearly everybody sees."""
    colours = torch.tensor([CURRENT, *NAMED])
    light = colours @ torch.tensor([0.2126, 0.7152, 0.0722])
    yellow = colours[:, :2].mean(-1) - colours[:, 2]
    apart = torch.cdist(torch.stack([light, yellow], -1), torch.stack([light, yellow], -1))
    assert (apart + torch.eye(len(colours)) > 0.08).all()
    assert len(NAMES) == len(NAMED) and colour_of(len(NAMED)) == NAMED[0]


def test_removing_reflections_is_seen(field: FeatureField, painter: Painter):
    document = Document(field, CPU)
    document.edit(RemoveSpecular(), "everything")
    stage = Stage(document, painter)
    before, after = (
        painter.picture(stage.seen(original=o, marked=False), CAMERA, "colour") for o in (True, False)
    )
    assert (before - after).abs().max() > 0.05
