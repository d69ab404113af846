"""nerfstudio's commands on a tiny scene."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_fields import edited_document, photograph
from tiny_nerfstudio import METHOD, NAME, PYTHON, needs_nerfstudio, ns, run_code, succeeded

from featurefields.files.archive import read_archive
from featurefields.files.ply import read_ply
from featurefields.readers import read_scene
from featurefields_cli import main

pytestmark = [pytest.mark.slow, needs_nerfstudio]
STEPS = 50
Train = Callable[..., Path]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene in whose list the first photo does not exist."""
    folder = photograph(tmp_path_factory.mktemp("data") / "tiny")
    frames = json.loads((folder / "transforms.json").read_text())["frames"]
    frames.insert(0, {**frames[0], "file_path": "images/000_missing.png"})
    names = [frame["file_path"] for frame in frames]
    train, test = [names[0], *names[1::2]], names[2::2]
    return edited_document(
        folder, frames=frames, train_filenames=train, val_filenames=test, test_filenames=test
    )


@pytest.fixture(scope="module")
def train(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Train:
    def trained(*options: object, name: str = "one") -> Path:
        """The folder of a run."""
        output = tmp_path_factory.mktemp("outputs")
        done = ns(
            "ns-train", METHOD, "--data", data, "--output-dir", output, f"--experiment-name {name} --timestamp now",
            "--vis tensorboard", *options,
        )  # fmt: skip
        folder = output / name / NAME / "now"
        (folder / "told.txt").write_text(succeeded(done).stdout)
        return folder

    return trained


@pytest.fixture(scope="module")
def run(train: Train) -> Path:
    return train(f"--max-num-iterations {STEPS} --steps-per-save 20 --save-only-latest-checkpoint False")


def checkpoint(run: Path, step: int) -> Path:
    return run / "nerfstudio_models" / f"step-{step:09d}.ckpt"


def test_the_methods_are_listed():
    told = succeeded(ns("ns-train", "--help")).stdout
    assert NAME in told and f"{NAME}-small" in told


def test_a_broken_dependency_breaks_no_command_and_is_told_when_used(tmp_path: Path, data: Path):
    for package in ("numba", "safetensors"):
        (tmp_path / f"{package}.py").write_text("raise AttributeError('broken on purpose')")
    told = succeeded(ns("ns-train", "--help", path=str(tmp_path))).stdout
    assert NAME in told and "splatfacto" in told
    used = ns("ns-train", NAME, "--data", data, "--output-dir", tmp_path, path=str(tmp_path))
    assert used.returncode != 0 and "cannot run here: AttributeError: broken on purpose" in used.stderr


class TestTraining:
    def test_the_archive_stands_beside_the_configuration(self, run: Path, data: Path):
        field = read_archive(run)
        assert (run / "config.yml").is_file() and (run / "dataparser_transforms.json").is_file()
        assert set(field.heads) == {"rgb", "feature"} and field.about.notes["steps"] == STEPS
        assert Path(field.about.data) == data

    def test_photos_that_do_not_exist_are_counted(self, run: Path):
        assert (
            "1 listed photos do not exist and are skipped: images/000_missing.png"
            in (run / "told.txt").read_text()
        )

    def test_the_field_knows_its_photos_as_our_readers_do(self, run: Path, data: Path):
        field, scene = read_archive(run), read_scene(data)
        assert set(field.about.cameras) == set(scene.cameras())
        back = field.about.world_from_capture.inverse
        again = scene.world_from_capture.inverse
        for name, camera in scene.cameras().items():
            known = field.about.cameras[name]
            there = back.pose(known.world_from_camera.double())
            assert torch.allclose(there, again.pose(camera.world_from_camera.double()), atol=1e-3)
            assert torch.allclose(known.focal_px, camera.focal_px, rtol=1e-4) and known.size == camera.size

    def test_checkpoints_hold_nothing_but_tensors_and_numbers(self, run: Path):
        state = torch.load(checkpoint(run, 20), weights_only=True)
        assert state["step"] == 20 and any(name.startswith("_model.run.fit.") for name in state["pipeline"])

    def test_of_a_run_that_was_cut_off_ff_reads_the_checkpoint(self, run: Path, tmp_path: Path):
        """Written by nerfstudio, read without it."""
        path = tmp_path / "nerfstudio_models" / checkpoint(run, 20).name
        path.parent.mkdir()
        shutil.copyfile(checkpoint(run, 20), path)
        shutil.copyfile(run / "config.yml", tmp_path / "config.yml")
        assert main(["info", "--load-config", str(tmp_path / "config.yml")]) == 0
        early = read_archive(tmp_path)
        assert set(early.heads) == {"rgb"} and set(early.about.cameras) == set(
            read_archive(run).about.cameras
        )

    def test_a_run_that_goes_on_ends_where_it_would_have(self, run: Path, train: Train):
        again = train("--load-checkpoint", checkpoint(run, 20), f"--max-num-iterations {STEPS}", name="again")
        one, other = read_archive(run).splats.tensors(), read_archive(again).splats.tensors()
        assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)

    def test_other_parsers_read_too(self, data: Path, tmp_path: Path):
        """Blender's format, whose poses and splits are other ones."""
        frames = json.loads((data / "transforms.json").read_text())["frames"][1:]
        poses = [
            {
                "file_path": f"./{Path(frame['file_path']).with_suffix('')}",
                "transform_matrix": frame["transform_matrix"],
            }
            for frame in frames
        ]
        scene = tmp_path / "blender"
        scene.mkdir()
        (scene / "images").symlink_to(data / "images")
        for split, part in (("train", poses[:6]), ("val", poses[6:]), ("test", poses[6:])):
            content = {"camera_angle_x": 0.8, "frames": part}
            (scene / f"transforms_{split}.json").write_text(json.dumps(content))
        done = ns(
            "ns-train", METHOD, "--max-num-iterations 3 --vis tensorboard --timestamp now --experiment-name b",
            "--output-dir", tmp_path, "--data", scene, "blender-data",
        )  # fmt: skip
        succeeded(done)
        field = read_archive(tmp_path / "b" / NAME / "now")
        assert len(field.about.cameras) == len(frames)


class TestAfterwards:
    def test_eval_measures_what_ff_eval_does(
        self, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ):
        succeeded(ns("ns-eval", "--load-config", run / "config.yml", "--output-path", tmp_path / "eval.json"))
        measured = json.loads((tmp_path / "eval.json").read_text())["results"]
        assert main(["eval", "--load-config", str(run / "config.yml"), "--json"]) == 0
        ours = json.loads(capsys.readouterr().out)
        assert abs(measured["psnr"] - ours["PSNR_dB"]) < 1e-3 and abs(measured["ssim"] - ours["SSIM"]) < 1e-4

    def test_render_draws_every_layer(self, run: Path, tmp_path: Path):
        layers = "rgb rgb_indep rgb_dep normals roughness depth feature feature_indep feature_dep similarity selected"
        succeeded(
            ns(
                "ns-render", "dataset", "--load-config", run / "config.yml", "--output-path", tmp_path,
                "--rendered-output-names", layers,
            )
        )  # fmt: skip
        drawn = {folder.name: len(list(folder.iterdir())) for folder in (tmp_path / "test").iterdir()}
        assert set(drawn) == set(layers.split()) and set(drawn.values()) == {
            len(read_archive(run).about.notes["test_views"])  # type: ignore[arg-type]
        }

    def test_export_writes_an_ordinary_ply_in_nerfstudios_frame(self, run: Path, tmp_path: Path):
        succeeded(
            ns("ns-export", "gaussian-splat", "--load-config", run / "config.yml", "--output-dir", tmp_path)
        )
        exported, field = read_ply(tmp_path / "splat.ply"), read_archive(run)
        note = field.about.notes["world_from_nerfstudio"]
        assert isinstance(note, dict)
        moved = field.splats.means @ torch.tensor(note["rotation"])
        moved = (moved - torch.tensor(note["translation"]) @ torch.tensor(note["rotation"])) / note["scale"]
        seen = field.splats.opacity_logits > -5.5373
        assert torch.allclose(exported.splats.means, moved[seen], atol=1e-4)
        assert exported.splats.columns["harmonics"].shape[1:] == (16, 3)

    def test_ff_segments_and_edits_the_run(self, run: Path, tmp_path: Path):
        config = str(run / "config.yml")
        view = next(iter(read_archive(run).about.cameras))
        segment = [
            "segment",
            "--load-config",
            config,
            "--view",
            view,
            "--click",
            "20,24",
            "-o",
            str(tmp_path / "s"),
        ]
        assert main(segment) == 0
        selection = str(tmp_path / "s" / "selection.safetensors")
        edit = ["edit", "--load-config", config, "--selection", selection, "--remove-specular"]
        assert main([*edit, "-o", str(tmp_path / "e")]) == 0
        assert (tmp_path / "e" / "field.safetensors").is_file()


class TestViewer:
    """The panel's hooks, in nerfstudio's process but without a browser."""

    def test_clicks_edits_and_mistakes(self, run: Path):
        code = PANEL.format(config=str(run / "config.yml"))
        done = run_code([str(PYTHON), "-c", code])
        assert succeeded(done).stdout.rstrip().endswith("all well")


PANEL = """
import threading, types
from pathlib import Path
import torch
from nerfstudio.utils.eval_utils import eval_setup
from nerfstudio.viewer.utils import parse_object
from nerfstudio.viewer.viewer_elements import ViewerClick, ViewerElement, ViewerControl
_, pipeline, _, _ = eval_setup(Path({config!r}), test_mode="test")
panel = pipeline.model.selecting
found = parse_object(pipeline, ViewerElement, "Custom Elements")
assert len(found) == 12, found
assert all(path.startswith("Custom Elements/model/selecting/") for path, _ in found), found
assert len(parse_object(pipeline, ViewerControl, "Custom Elements")) == 1
assert "baked" not in pipeline.model.__dict__, "looking for elements must not bake"

lock, drawn, waiting = threading.Lock(), [], []
panel.control.viewer = types.SimpleNamespace(
    train_lock=lock, _trigger_rerender=lambda: drawn.append(1), log_filename=Path({config!r}).parent / "log.txt"
)
panel.control.register_pointer_cb = lambda kind, callback: waiting.append(callback)
panel.control.unregister_pointer_cb = waiting.clear

def click(direction):
    with lock:
        panel.a_click.cb_hook(panel.a_click)
    waiting[0](ViewerClick(tuple(origin.tolist()), tuple(direction.tolist()), (0.5, 0.5)))
    assert not lock.locked() and not waiting

def press(element):
    with lock:
        element.cb_hook(element)

camera = pipeline.datamanager.train_dataset.cameras[0:1]
pose = camera.camera_to_worlds[0]
origin, forward = pose[:, 3], -pose[:, 2]
before = pipeline.model.get_outputs_for_camera(camera)
press(panel.i_apply)
assert "nothing is selected" in panel.l_status.value, panel.l_status.value
click(-forward)
assert len(drawn) == 1 and "selected" not in panel.l_status.value.split(), panel.l_status.value
click(forward)
assert panel.l_status.value.endswith("splats are selected"), panel.l_status.value
after = pipeline.model.get_outputs_for_camera(camera)
assert after.keys() == before.keys()
assert after["similarity"].max() > 0.3 and not torch.equal(after["selected"], after["rgb"])
panel.g_edit.value = "delete"
press(panel.i_apply)
deleted = pipeline.model.get_outputs_for_camera(camera)
assert (deleted["rgb"] - before["rgb"]).abs().max() > 0.02, panel.l_status.value
press(panel.j_undo_edit)
undone = pipeline.model.get_outputs_for_camera(camera)
assert torch.equal(undone["rgb"], before["rgb"])
press(panel.k_save)
assert (Path({config!r}).parent / "saved" / "selection.safetensors").is_file(), panel.l_status.value
for name in ("field", "base", "selection"):
    assert (Path({config!r}).parent / "saved" / (name + ".safetensors")).is_file() == (name != "base")

press(panel.i_apply)
few = len(pipeline.model.editor.shown)
click(forward)
assert panel.l_status.value.endswith("splats are selected"), "selecting goes on where splats are gone"
assert few < len(pipeline.model.made) == len(pipeline.model.editor.selected.mask)
assert len(pipeline.model.editor.selection.mask) == few
press(panel.j_undo_edit)
assert panel.l_status.value == "edits left: 0"
counts = []
for threshold in (0.99, -0.5):
    panel.d_threshold.value = threshold
    press(panel.d_threshold)
    counts.append(int(panel.l_status.value.split()[0].replace(",", "")))
assert counts[0] < counts[1], counts
press(panel.f_clear)
assert panel.l_status.value == "nothing is selected"
press(panel.e_undo)
assert panel.l_status.value.endswith("splats are selected")

# Exceptions: told in the viewer's threads, raised in the main one; nerfstudio's own goes through
from nerfstudio.viewer.render_state_machine import viewer_utils
model, told = pipeline.model, []

def in_a_thread(fail):
    def draw():
        try:
            told.append(model.get_outputs_for_camera(camera))
        except BaseException as error:
            told.append(error)
    model.__dict__["rasterizer"] = types.SimpleNamespace(draw=fail)
    thread = threading.Thread(target=draw)
    thread.start()
    thread.join()
    return told.pop()

def out_of_memory(*args, **kwargs):
    raise MemoryError("so large a picture")

def interrupted(*args, **kwargs):
    raise viewer_utils.IOChangeException

good = model.rasterizer
black = in_a_thread(out_of_memory)
assert black.keys() == before.keys() and not any(layer.any() for layer in black.values())
assert all(black[name].shape == before[name].shape for name in before)
assert "MemoryError: so large a picture" in panel.l_status.value, panel.l_status.value
assert isinstance(in_a_thread(interrupted), viewer_utils.IOChangeException)
try:
    model.get_outputs_for_camera(camera)
    raise AssertionError("commands must not go on with black pictures")
except viewer_utils.IOChangeException:
    pass
model.__dict__["rasterizer"] = good
assert torch.equal(model.get_outputs_for_camera(camera)["rgb"], before["rgb"])

pipeline.model.editor.add = lambda *prompt: 1 / 0
click(forward)
assert "internal error, see the terminal: ZeroDivisionError" in panel.l_status.value
print("all well")
"""
