"""A field measured against what it draws itself, and against what it does not."""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from tiny_fields import part, photograph, two_balls, views_of
from tiny_truth import PARTS, truth_field, truth_scene

from featurefields.errors import SceneError, UnknownNameError
from featurefields.evaluation.colour import ColourReport, ColourRow, measure_colour
from featurefields.evaluation.metrics import decibel, psnr, squared_error
from featurefields.evaluation.regions import (
    LEFT_OUT,
    Region,
    RegionRows,
    SceneObject,
    instance_ids,
    mean_row,
    regions_of,
    scene_objects,
)
from featurefields.field import FeatureField, render
from featurefields.maths.rotations import matrix_from_quat
from featurefields.maths.similarity import Similarity
from featurefields.raster import choose_rasterizer
from featurefields.readers import read_scene
from featurefields.scene import Scene

CPU = choose_rasterizer("cpu")


@pytest.fixture(scope="module")
def field() -> FeatureField:
    return truth_field()


@pytest.fixture(scope="module")
def scene(field: FeatureField, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = truth_scene(tmp_path_factory.mktemp("data") / "truth", field)
    return read_scene(folder, normalise=False)


@pytest.fixture(scope="module")
def itself(field: FeatureField, scene: Scene) -> ColourReport:
    """The field measured on its own pictures."""
    return measure_colour(field, scene, scene_objects(scene), rasterizer=CPU)


def named(report: ColourReport, name: str) -> ColourRow:
    return next(row for row in (*report.rows.regions, *report.rows.objects) if row.name == name)


class TestItself:
    """Against its own pictures a field is perfect, up to their 8 bits."""

    def test_every_region_is(self, itself: ColourReport):
        rows = itself.rows
        assert [row.name for row in rows.regions] == ["everything", "objects", "objects but metals"]
        assert [row.name for row in rows.objects] == list(PARTS)
        assert [row.name for row in rows.materials] == [kind for kind, _ in PARTS.values()]
        for row in (*rows.regions, *rows.objects, *rows.materials):
            assert row.psnr_db > 50 and row.ssim > 0.99 and row.indep_as_diffuse_db > 50
            assert row.normal_deg < 0.5 and row.roughness == pytest.approx(row.true_roughness, abs=3e-3)

    def test_pixels_are_counted_once(self, itself: ColourReport):
        assert named(itself, "everything").pixels == 2 * 40 * 40
        assert named(itself, "objects").pixels == sum(row.pixels for row in itself.rows.objects)

    def test_roughness_is_ranked_right(self, itself: ColourReport):
        assert itself.roughness_rank == pytest.approx(1.0)
        drawn = [named(itself, name).roughness for name in PARTS]
        assert drawn == sorted(drawn) and drawn[0] == pytest.approx(1 / (1 + math.exp(2)), abs=0.02)

    def test_only_what_reflects_has_reflected_light(self, itself: ColourReport):
        assert named(itself, "red").reflective_share > 0.2
        assert named(itself, "floor").reflective_share < 0.02
        assert named(itself, "red").photo_as_diffuse_db < 25 < named(itself, "floor").photo_as_diffuse_db

    def test_its_highlights_are_found(self, itself: ColourReport):
        objects, red = named(itself, "objects"), named(itself, "red")
        assert 0.05 < objects.highlight_share < 0.5 and red.highlight_share > 0.5
        assert objects.highlight_ap > 0.99

    def test_another_frame_changes_nothing(self, field: FeatureField, scene: Scene, itself: ColourReport):
        turn = matrix_from_quat(torch.tensor([[0.5, -0.2, 0.7, 0.4]]))[0].double()
        other = Similarity(1.7, turn, torch.tensor([0.3, -2.0, 1.0], dtype=torch.float64))
        views = tuple(
            replace(
                view, camera=replace(view.camera, world_from_camera=other.pose(view.camera.world_from_camera))
            )
            for view in scene.views
        )
        moved = replace(scene, views=views, world_from_capture=other)
        report = measure_colour(field.moved(other), moved, scene_objects(scene), rasterizer=CPU)
        assert named(report, "objects").normal_deg == pytest.approx(
            named(itself, "objects").normal_deg, abs=0.1
        )
        assert named(report, "objects").psnr_db > 45
        unaware = replace(moved, world_from_capture=Similarity.identity())
        wrong = measure_colour(field.moved(other), unaware, scene_objects(scene), rasterizer=CPU)
        assert named(wrong, "objects").normal_deg > 30


class TestOthers:
    """What is not the truth is told apart, by the number that is meant to tell."""

    def changed(self, field: FeatureField, **columns: torch.Tensor) -> FeatureField:
        return field.with_splats(field.splats.with_columns(**columns))

    def test_one_wrong_object_spoils_its_own_row_alone(
        self, field: FeatureField, scene: Scene, itself: ColourReport
    ):
        diffuse = field.splats.columns["diffuse"].clone()
        diffuse[part("blue")] += 1.0
        report = measure_colour(
            self.changed(field, diffuse=diffuse), scene, scene_objects(scene), rasterizer=CPU
        )
        assert named(report, "blue").psnr_db < 30 and named(report, "blue").indep_as_diffuse_db < 30
        assert named(report, "red").psnr_db > 40
        assert named(report, "red").highlight_ap == pytest.approx(named(itself, "red").highlight_ap, abs=1e-3)

    def test_matter_that_should_be_reflection(self, field: FeatureField, scene: Scene):
        gloss = torch.full_like(field.splats.columns["gloss"], -30.0)
        report = measure_colour(self.changed(field, gloss=gloss), scene, scene_objects(scene), rasterizer=CPU)
        objects = named(report, "objects")
        assert objects.reflective_share < 1e-4 and objects.indep_as_diffuse_db > 50
        assert objects.highlight_ap < objects.highlight_share + 0.15 and named(report, "red").psnr_db < 25

    def test_turned_normals(self, field: FeatureField, scene: Scene):
        normals = -field.splats.columns["normals"]
        report = measure_colour(
            self.changed(field, normals=normals), scene, scene_objects(scene), rasterizer=CPU
        )
        assert named(report, "floor").normal_deg > 179

    def test_the_wrong_order_of_roughness(self, field: FeatureField, scene: Scene):
        roughness = -field.splats.columns["roughness"]
        report = measure_colour(
            self.changed(field, roughness=roughness), scene, scene_objects(scene), rasterizer=CPU
        )
        assert report.roughness_rank == pytest.approx(-1.0)

    def test_ordinary_splats_have_no_normals_or_roughness(self, scene: Scene):
        report = measure_colour(two_balls("harmonics"), scene, scene_objects(scene), rasterizer=CPU)
        objects = named(report, "objects")
        assert math.isnan(objects.normal_deg) and math.isnan(objects.roughness)
        assert math.isnan(report.roughness_rank) and not math.isnan(objects.true_roughness)
        assert 0 <= objects.reflective_share < 0.2 and 0 < objects.highlight_ap <= 1

    def test_a_field_without_colours_is_refused(self, field: FeatureField, scene: Scene):
        with pytest.raises(UnknownNameError, match="only: feature"):
            measure_colour(
                replace(field, heads={"feature": field.heads["feature"]}), scene, (), rasterizer=CPU
            )


class TestProtocol:
    def test_means_are_taken_as_stated(self, field: FeatureField, scene: Scene):
        """Regions: mean of the views' dB. Objects: dB of the mean error over the views."""
        shifted = field.with_splats(replace(field.splats, means=field.splats.means + 0.05))
        report = measure_colour(shifted, scene, scene_objects(scene), rasterizer=CPU)
        whole, red = [], []
        for view in scene.split("test"):
            with torch.no_grad():
                drawn = render(shifted, view.camera, rasterizer=CPU, heads=("rgb",))["rgb"]["total"]
            whole.append(psnr(drawn, view.picture.image()))
            red.append(float(squared_error(drawn, view.picture.image())[instance_ids(view) == 1].mean()))
        assert len(whole) == 2 and abs(whole[0] - whole[1]) > 0.01
        assert named(report, "everything").psnr_db == pytest.approx(sum(whole) / 2, abs=1e-4)
        assert named(report, "red").psnr_db == pytest.approx(decibel(red), abs=1e-3)

    def test_masked_pixels_do_not_count(self, field: FeatureField, scene: Scene):
        view = scene.split("test")[0]
        mask = torch.zeros(40, 40, dtype=torch.bool)
        mask[:20] = True
        hidden = replace(view, picture=Masked(view.picture, mask))
        ids = instance_ids(hidden)
        assert (ids[20:] == LEFT_OUT).all() and torch.equal(ids[:20], instance_ids(view)[:20])
        report = measure_colour(field, replace(scene, views=(hidden,)), scene_objects(scene), rasterizer=CPU)
        assert named(report, "everything").pixels == 800

    def test_an_object_that_hardly_shows_has_no_number(self, field: FeatureField, scene: Scene):
        ids = instance_ids(scene.split("test")[0])
        few = Region("few", (1,), object=True)
        sparse = torch.zeros_like(ids)
        sparse[0, :29] = 1
        assert few.seen(sparse) is None and Region("few", (1,)).seen(sparse) is not None
        sparse[0, 29] = 1
        assert few.seen(sparse) is not None

    def test_without_truth_only_the_photo_is_compared(self, tmp_path: Path):
        scene = read_scene(photograph(tmp_path / "balls"), normalise=False)
        report = measure_colour(two_balls("harmonics"), scene, scene_objects(scene), rasterizer=CPU)
        assert [row.name for row in report.rows.regions] == ["everything"] and not report.rows.objects
        row = report.rows.regions[0]
        assert row.psnr_db > 5 and row.ssim > 0 and math.isnan(row.indep_as_diffuse_db)
        assert math.isnan(row.highlight_ap) and math.isnan(row.highlight_share)

    def test_a_scene_without_held_out_views_has_no_numbers(self, field: FeatureField):
        scene = Scene("grey", Path(), views_of(dict(list(field.about.cameras.items())[:1])))
        report = measure_colour(field, scene, (), rasterizer=CPU)
        assert math.isnan(report.rows.regions[0].psnr_db) and report.rows.regions[0].pixels == 0


@dataclass(frozen=True)
class Masked:
    """A picture of which only a part counts."""

    picture: object
    counted: torch.Tensor

    def mask(self) -> torch.Tensor:
        return self.counted

    def __getattr__(self, name: str) -> object:
        return getattr(self.picture, name)


class TestObjects:
    def test_names_and_materials_come_from_the_scene(self, scene: Scene):
        found = scene_objects(scene)
        assert found == tuple(SceneObject(id, name, kind) for name, (kind, id) in PARTS.items())

    def test_without_a_description_they_have_numbers(self, scene: Scene, tmp_path: Path):
        assert [entry.name for entry in scene_objects(replace(scene, folder=tmp_path))] == [
            "object 1",
            "object 2",
            "object 3",
        ]
        assert [region.name for region in regions_of(scene_objects(replace(scene, folder=tmp_path)))][:2] == [
            "everything",
            "objects",
        ]

    @pytest.mark.parametrize(
        "content, told",
        [
            ("{", "not valid JSON"),
            ('{"objects": [{"name": "a"}]}', "id is None"),
            ('{"objects": [3]}', "object"),
        ],
    )
    def test_a_damaged_description_is_told(self, scene: Scene, tmp_path: Path, content: str, told: str):
        (tmp_path / "meta.json").write_text(content)
        with pytest.raises(SceneError, match=told):
            scene_objects(replace(scene, folder=tmp_path))

    def test_a_description_of_other_things_is_no_error(self, scene: Scene, tmp_path: Path):
        (tmp_path / "meta.json").write_text(json.dumps({"exposure": 1.0}))
        assert scene_objects(replace(scene, folder=tmp_path))[0] == SceneObject(1, "object 1")


class TestRows:
    def row(self, name: str, material: str, pixels: int, number: float) -> ColourRow:
        return ColourRow(name, material, pixels, *[number] * 10)

    def test_materials_are_means_and_sums_over_their_objects(self):
        rows = [
            self.row("a", "metal", 5, 1.0),
            self.row("b", "matte", 1, 7.0),
            self.row("c", "metal", 6, 4.0),
            self.row("d", "metal", 1, math.nan),
            self.row("e", "", 1, 9.0),
        ]
        regions = [Region(row.name, (1,), row.material, object=True) for row in rows]
        found = RegionRows.of(regions, rows)
        assert found.materials == (self.row("metal", "metal", 12, 2.5), self.row("matte", "matte", 1, 7.0))
        assert found.regions == () and found.region("objects") is None

    def test_a_mean_of_unknown_numbers_is_unknown(self):
        assert math.isnan(mean_row([self.row("a", "x", 1, math.nan)], "x").ssim)
