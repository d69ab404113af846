"""The parts of the nerfstudio plugin that know nothing of nerfstudio: a run, its states, its pictures, its frames."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_fields import looking, photograph, two_balls

from featurefields.adapters.nerfstudio.capture import ReadAnew, paired_poses, read_anew, similarity_between
from featurefields.adapters.nerfstudio.outputs import Display
from featurefields.adapters.nerfstudio.run import (
    Run,
    Stages,
    extractor_or_next_best,
    facts_in,
    field_in,
    frame_note,
    nerfstudio_frame,
    text_tensor,
)
from featurefields.errors import FileFormatError, FittingError, UnavailableError, UnknownNameError
from featurefields.field import FeatureField, render
from featurefields.fitting.appearance import AppearanceConfig
from featurefields.fitting.densify import DensifyConfig
from featurefields.lifting.stage import LiftingConfig
from featurefields.maths.rotations import matrix_from_quat
from featurefields.maths.similarity import Similarity
from featurefields.raster import choose_rasterizer
from featurefields.readers import read_scene
from featurefields.scene import Scene
from featurefields.selection import Selection

CPU = choose_rasterizer("cpu")
STEPS = 6


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return read_scene(photograph(tmp_path_factory.mktemp("photos")))


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Stages:
    return Stages(
        appearance=AppearanceConfig(steps=STEPS, densify=DensifyConfig(budget=120)),
        lifting=LiftingConfig(dim=6, cache=tmp_path_factory.mktemp("cache")),
        features="classical",
        notes={"kind": "nerfstudio", "world_from_nerfstudio": frame_note(Similarity.identity())},
    )


def begun(scene: Scene, stages: Stages, steps: int = 0) -> Run:
    run = Run(scene, stages, CPU, "cpu")
    for _ in range(steps):
        run.step()
    return run


@pytest.fixture(scope="module")
def finished(scene: Scene, stages: Stages) -> Run:
    return begun(scene, stages, STEPS)


@pytest.fixture(scope="module")
def field(finished: Run) -> FeatureField:
    return finished.field


def same(one: FeatureField, other: FeatureField) -> bool:
    a, b = one.splats.tensors(), other.splats.tensors()
    heads = all(
        torch.equal(x, y)
        for name in one.heads
        for x, y in zip(
            one.heads[name].state_dict().values(), other.heads[name].state_dict().values(), strict=True
        )
    )
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a) and heads


class TestRun:
    def test_the_last_step_lifts_the_features(self, scene: Scene, stages: Stages):
        run = begun(scene, stages, STEPS - 1)
        assert not run.done and list(run.field.heads) == ["rgb"]
        run.step()
        assert run.done and list(run.field.heads) == ["rgb", "feature"]
        assert run.field.about.notes["steps"] == STEPS and run.field.about.notes["kind"] == "nerfstudio"

    def test_without_features_stage_1_is_all(self, scene: Scene, stages: Stages):
        run = begun(scene, replace(stages, features="none"), STEPS)
        assert run.done and list(run.field.heads) == ["rgb"]

    def test_a_step_too_many_changes_nothing(self, scene: Scene, stages: Stages):
        run = begun(scene, stages, STEPS)
        before, told = run.field, run.told
        assert run.step() == told and run.field is before and run.fit.step == STEPS

    def test_the_schedule_is_that_of_the_first_run(self, scene: Scene, stages: Stages):
        run = begun(scene, stages)
        run.schedule(40)
        assert run.fit.config.steps == 40
        run.step()
        run.schedule(3)
        assert run.fit.config.steps == 40

    @pytest.mark.parametrize("at", [1, STEPS - 1])
    def test_a_run_that_goes_on_ends_where_an_uninterrupted_one_does(
        self, scene: Scene, stages: Stages, finished: Run, at: int
    ):
        state = begun(scene, stages, at).state()
        again = begun(scene, stages)
        again.load(state)
        assert again.fit.step == at
        while not again.done:
            again.step()
        assert same(again.field, finished.field)

    def test_a_finished_state_holds_the_field_alone(self, scene: Scene, stages: Stages, finished: Run):
        state = finished.state()
        assert not any(name.startswith("fit.") for name in state)
        assert same(field_in(state), finished.field)
        again = begun(scene, stages)
        again.load(state)
        assert again.done and same(again.field, finished.field)

    def test_states_are_tensors_that_torch_reads_without_pickled_objects(self, finished: Run, tmp_path: Path):
        torch.save(finished.state(), tmp_path / "state.ckpt")
        state = torch.load(tmp_path / "state.ckpt", weights_only=True)
        assert same(field_in(state), finished.field)

    def test_a_field_in_progress_is_a_field(self, scene: Scene, stages: Stages):
        state = begun(scene, stages, 2).state()
        field = field_in(state)
        assert any(name.startswith("fit.") for name in state)
        assert render(field, scene.views[0].camera)["rgb"]["total"].isfinite().all()

    def test_other_photos_are_refused(self, scene: Scene, stages: Stages):
        state = begun(scene, stages, 1).state()
        other = replace(scene, views=scene.split("train")[1:])
        with pytest.raises(FittingError, match="was written for other photos or poses"):
            begun(other, stages).load(state)

    def test_a_foreign_checkpoint_is_refused(self, scene: Scene, stages: Stages):
        with pytest.raises(FileFormatError, match="holds no field of this method"):
            begun(scene, stages).load({"means": torch.zeros(3)})
        assert facts_in({"facts": text_tensor({"ü": [1, None]})}) == {"ü": [1, None]}

    def test_an_extractor_that_does_not_exist_is_told_before_any_photo_is_read(
        self, scene: Scene, stages: Stages
    ):
        with pytest.raises(UnknownNameError, match="dinosaur"):
            Run(scene, replace(stages, features="dinosaur"), CPU, "cpu")

    def test_auto_goes_on_without_weights_and_says_so(self, monkeypatch: pytest.MonkeyPatch):
        from featurefields.adapters.nerfstudio import run

        real, told = run.choose_extractor, []

        def offline(name: str, *, device: torch.device):
            if name == "dinov2":
                raise UnavailableError("no network")
            return real(name, device=device)

        monkeypatch.setattr(run, "choose_extractor", offline)
        found = extractor_or_next_best("auto", torch.device("cpu"), told.append)
        assert found is not None and found.fingerprint.startswith("classical")
        assert told == ["no network — going on with the classical features, which need no weights"]


class TestFrames:
    def frame(self) -> Similarity:
        rotation = matrix_from_quat(torch.tensor([[0.9, 0.1, -0.3, 0.2]], dtype=torch.float64))[0]
        return Similarity(0.37, rotation, torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64))

    def poses(self) -> torch.Tensor:
        cameras = [looking((3.0, 0.1 * i, 1.0 + i), (0.0, 0.3 * i, 0.1)) for i in range(5)]
        return torch.stack([camera.world_from_camera.double() for camera in cameras])

    def test_a_similarity_is_found_again(self):
        there, frame = self.poses(), self.frame()
        here = torch.stack([frame.pose(pose) for pose in there])
        found = similarity_between(there, here)
        assert found is not None and abs(found.scale - frame.scale) < 1e-9
        assert torch.allclose(found.rotation, frame.rotation, atol=1e-9)
        assert torch.allclose(found.translation, frame.translation, atol=1e-9)

    def test_where_cameras_moved_apart_there_is_none(self):
        there, frame = self.poses(), self.frame()
        here = torch.stack([frame.pose(pose) for pose in there])
        here[2, 0, 3] += 0.05
        assert similarity_between(there, here) is None
        assert similarity_between(there[:0], there[:0]) is None

    def test_frames_are_remembered(self):
        frame = self.frame()
        field = two_balls()
        noted = replace(field, about=replace(field.about, notes={"world_from_nerfstudio": frame_note(frame)}))
        found = nerfstudio_frame(noted)
        assert found.scale == frame.scale and torch.equal(found.rotation, frame.rotation)
        with pytest.raises(FileFormatError, match="does not say where nerfstudio's world lies"):
            nerfstudio_frame(field)

    def test_photos_are_found_by_their_files_or_by_smaller_copies(self, scene: Scene):
        read = read_anew(scene.folder)
        assert isinstance(read, ReadAnew) and read.kind == "nerfstudio" and read.points is not None
        photo = scene.views[2].picture.path
        known = read.view_of(photo)
        assert known is not None and known.name == scene.views[2].name
        copied = read.view_of(scene.folder / "images_2" / photo.name)
        assert copied is not None and copied.name == scene.views[2].name
        assert read.view_of(Path("elsewhere.png")) is None
        poses = torch.stack([view.camera.world_from_camera.double() for view in scene.views])
        there, here = paired_poses(read, [view.picture.path for view in scene.views], poses)
        found = similarity_between(there, here)
        assert found is not None and abs(found.scale / scene.world_from_capture.scale - 1) < 1e-4

    def test_folders_that_only_nerfstudio_knows_are_no_error(self, tmp_path: Path):
        assert read_anew(tmp_path) is None


class TestOutputs:
    def test_every_layer_is_a_picture(self, field: FeatureField, scene: Scene):
        camera = scene.views[0].camera
        found = Display.of(field).outputs(camera, CPU, Similarity.identity())
        for name in ("rgb", "rgb_indep", "rgb_dep", "normals", "feature", "feature_indep", "feature_dep"):
            assert found[name].shape == (camera.height, camera.width, 3)
        for name in ("roughness", "depth", "accumulation", "similarity"):
            assert found[name].shape == (camera.height, camera.width, 1)
        assert all(layer.isfinite().all() for layer in found.values())
        assert all(layer.min() >= 0 and layer.max() <= 1 for n, layer in found.items() if n != "depth")
        assert torch.equal(found["selected"], found["rgb"]) and not found["similarity"].any()

    def test_features_reduced_before_drawing_are_those_painted_after(self, field: FeatureField, scene: Scene):
        camera = scene.views[0].camera
        display = Display.of(field)
        assert display.offset is not None and display.palette is not None
        assert display.field.splats.columns["feature"].shape[-1] == 3
        found = display.outputs(camera, CPU, Similarity.identity())
        drawn = render(field, camera, rasterizer=CPU)
        for layer, residual in (("total", False), ("indep", False), ("dep", True)):
            painted = display.palette.paint(drawn["feature"][layer], drawn.alpha, residual=residual)
            shown = found["feature" if layer == "total" else f"feature_{layer}"]
            assert (shown - painted).abs().max() < 1e-3
            assert painted.std() > 0.01

    def test_depth_is_in_nerfstudios_units(self, field: FeatureField, scene: Scene):
        camera, display = scene.views[0].camera, Display.of(field)
        one = display.outputs(camera, CPU, Similarity.identity())["depth"]
        doubled = Similarity(2.0, torch.eye(3), torch.zeros(3))
        assert torch.allclose(display.outputs(camera, CPU, doubled)["depth"], 2 * one)

    def test_what_is_selected_is_shown(self, field: FeatureField, scene: Scene):
        camera = scene.views[0].camera
        mask = field.splats.means[:, 0] > field.splats.means[:, 0].median()
        selection = Selection(mask, mask.float() * 0.8, field.fingerprint())
        found = Display.of(field).outputs(camera, CPU, Similarity.identity(), selection=selection)
        assert found["similarity"].max() > 0.5 and found["similarity"].min() < 0.3
        changed = (found["selected"] - found["rgb"]).abs().amax(-1) > 0.05
        assert 0.05 < changed.float().mean() < 0.95

    def test_a_box_leaves_gaussians_out_and_may_be_empty(self, field: FeatureField, scene: Scene):
        camera, display = scene.views[0].camera, Display.of(field)
        none = torch.zeros(len(field), dtype=torch.bool)
        few = none.clone()
        few[: len(few) // 4] = True
        whole = display.outputs(camera, CPU, Similarity.identity())
        part = display.outputs(camera, CPU, Similarity.identity(), within=few)
        empty = display.outputs(camera, CPU, Similarity.identity(), within=none)
        assert part["accumulation"].sum() < 0.7 * whole["accumulation"].sum()
        assert empty["accumulation"].max() < 1e-3 and empty["rgb"].shape == whole["rgb"].shape

    def test_harmonics_have_the_same_outputs_but_surfaces(self):
        field = two_balls("harmonics")
        camera = next(iter(field.about.cameras.values()))
        found = Display.of(field).outputs(camera, CPU, Similarity.identity())
        assert {"rgb", "rgb_indep", "rgb_dep", "feature", "depth"} <= set(found) and "normals" not in found
