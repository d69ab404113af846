"""Whole trainings on a few views: they learn, go on after a kill as if there was none, and share work."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_distillation import NETWORKS, tiny_scene, training

from featurefields.distillation.export import check_export, export_backbone
from featurefields.distillation.loop import CHECKPOINT_FILE, load_checkpoint, run_training
from featurefields.distillation.reconstruct import DepthReconstructor
from featurefields.distillation.seen import see
from featurefields.distillation.student import StudentConfig, merged
from featurefields.distillation.train import DistillConfig, TeacherConfig
from featurefields.errors import FileFormatError, FittingError, WriteError
from featurefields.field import About, FeatureField
from featurefields.files.archive import write_archive
from featurefields.files.container import read_container
from featurefields.readers import read_scene
from featurefields.vision import choose_extractor
from featurefields_cli.main import main

FOLLOWS = TeacherConfig(momentum=0.9, every=2)
SHORT = DistillConfig(steps=6, batch=2, rate=3e-3, teacher=FOLLOWS)
LAUNCH = "from featurefields_cli.main import main; import sys; sys.exit(main(sys.argv[1:]))"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, demo_scene: Path) -> Path:
    return tiny_scene(tmp_path_factory.mktemp("scene"), demo_scene)


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: make(tmp_path_factory.mktemp(name)) for name, make in NETWORKS.items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(one, second[name]) for name, one in first.items()
    )


@pytest.mark.parametrize(("name", "rate"), [("vit", 2e-2), ("mobilenet", 5e-3)])
def test_the_loss_falls(scene, networks, name, rate):
    """Against one teacher that stays, of one batch over and over, in every kind of network and way of training."""
    frozen = TeacherConfig(momentum=1.0)
    config = DistillConfig(steps=14, batch=3, rate=rate, teacher=frozen, student=StudentConfig(dropout=0.0))
    run = training(scene, networks[name], config)
    run._batches = lambda step: [[run._pairs.pair(0, place) for place in range(3)]]
    losses = [run.run_step()["loss"] for _ in range(config.steps)]
    assert max(losses[-3:]) < 0.85 * losses[0]


@pytest.mark.parametrize("loss", ["centred", "direct", "dino"])
def test_other_losses_train(scene, networks, loss):
    config = replace(SHORT, steps=2, loss=loss, prototypes=64, accumulate=2)
    run = training(scene, networks["vit"], config)
    before = {name: one.detach().clone() for name, one in run.trained.items()}
    facts = [run.run_step() for _ in range(2)]
    assert all(0 < fact["loss"] < 100 and 0 < fact["valid"] <= 1 for fact in facts)
    assert sum(not torch.equal(one, before[name]) for name, one in run.trained.items()) > 0.5 * len(before)


def test_a_frozen_teacher_stays_and_another_follows(scene, networks):
    frozen = training(scene, networks["vit"], replace(SHORT, teacher=TeacherConfig(momentum=1.0, every=1)))
    moving = training(scene, networks["vit"], replace(SHORT, teacher=TeacherConfig(momentum=0.5, every=2)))
    start = {name: one.clone() for name, one in frozen.teacher.model.named_parameters()}
    for _ in range(2):
        frozen.run_step()
    assert same(start, dict(frozen.teacher.model.named_parameters()))
    moving.run_step()
    assert same(start, dict(moving.teacher.model.named_parameters()))
    moving.run_step()
    students = dict(moving.student.model.named_parameters())
    for name, one in moving.teacher.model.named_parameters():
        torch.testing.assert_close(one, (start[name] + students[name]) / 2)
    assert not moving.teacher.model.training and moving.student.model.training


def test_other_settings_cannot_go_on(scene, networks, tmp_path):
    run = training(scene, networks["vit"], replace(SHORT, steps=1))
    run_training(run, tmp_path, identity={"network": "a"})
    other = training(scene, networks["vit"], replace(SHORT, steps=1, rate=1.0))
    with pytest.raises(FittingError, match="written with rate"):
        load_checkpoint(other, tmp_path / CHECKPOINT_FILE, {"network": "a"})
    with pytest.raises(FittingError, match="written with network"):
        load_checkpoint(run, tmp_path / CHECKPOINT_FILE, {"network": "b"})
    with pytest.raises(FileFormatError):
        load_checkpoint(run, tmp_path / "none.safetensors", {"network": "a"})


def test_lower_precision_learns_too(scene, networks):
    run = training(scene, networks["vit"], replace(SHORT, precision="bf16", steps=1))
    full = training(scene, networks["vit"], replace(SHORT, steps=1))
    assert run.run_step()["loss"] == pytest.approx(full.run_step()["loss"], rel=0.05)
    assert all(one.dtype == torch.float32 for one in run.trained.values())


@pytest.mark.parametrize("name", NETWORKS)
def test_export_is_the_student_and_loads_strictly(scene, networks, tmp_path, name):
    run = training(scene, networks[name], replace(SHORT, steps=1))
    run.run_step()
    folder = export_backbone(run.student, tmp_path / "model", notes={"steps": 1})
    plain, loaded = merged(run.student), choose_extractor(f"transformers:{folder}")
    picture = torch.rand(2, 3, 64, 80, generator=torch.Generator().manual_seed(2))
    assert torch.equal(loaded(picture), plain(picture))
    assert not torch.equal(loaded(picture), choose_extractor(f"transformers:{networks[name]}")(picture))
    from transformers import AutoModel

    _, report = AutoModel.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert json.loads((folder / "distillation.json").read_text()) == {"steps": 1}
    with pytest.raises(WriteError, match="exists already"):
        export_backbone(run.student, folder)
    with torch.no_grad():
        next(plain.model.parameters()).add_(1e-3)
    with pytest.raises(WriteError, match="not those that were trained"):
        check_export(plain, folder)


class TestCommand:
    """The command as users run it; every run starts from the same scene and network."""

    @pytest.fixture
    def arguments(self, scene, networks) -> list[str]:
        return [
            "distill", "--data", str(scene), "--features", f"transformers:{networks['vit']}", "--downscale", "2",
            "--steps", "6", "--batch", "2", "--rate", "3e-3", "--momentum", "0.9", "--every", "2", "--json",
        ]  # fmt: skip

    def test_killed_at_any_step_it_goes_on_bit_for_bit(self, arguments, tmp_path, capsys):
        whole, killed = tmp_path / "whole", tmp_path / "killed"
        assert main([*arguments, "-o", str(whole)]) == 0
        summary = json.loads(capsys.readouterr().out)
        assert summary["steps"] == 6 and summary["targets"] == 6
        command = [sys.executable, "-c", LAUNCH, *arguments, "-o", str(killed), "--save-every", "0"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        log, wanted = killed / "log.jsonl", 1 + int(torch.randint(4, ()))
        deadline = time.monotonic() + 240
        while process.poll() is None and time.monotonic() < deadline:
            if log.exists() and len(log.read_text().splitlines()) >= wanted:
                break
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        _, header = read_container(killed / CHECKPOINT_FILE, "distillation")
        assert 0 < header["facts"]["step"] <= 6
        assert main([*arguments, "-o", str(killed), "--resume"]) == 0
        tensors = [read_container(folder / CHECKPOINT_FILE, "distillation")[0] for folder in (whole, killed)]
        assert same(*tensors)
        assert (whole / "log.jsonl").read_text() == (killed / "log.jsonl").read_text()
        assert (whole / "model" / "model.safetensors").read_bytes() == (
            killed / "model" / "model.safetensors"
        ).read_bytes()

    def test_two_processes_are_one_with_twice_the_batch(self, arguments, tmp_path, capsys):
        arguments = [*arguments, "--dropout", "0"]
        one, two = tmp_path / "one", tmp_path / "two"
        double = [word if arguments[place - 1] != "--batch" else "4" for place, word in enumerate(arguments)]
        assert main([*double, "-o", str(one)]) == 0
        capsys.readouterr()
        command = [
            sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29713",
            "--no-python", sys.executable, "-c", LAUNCH, *arguments, "-o", str(two),
        ]  # fmt: skip
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
        assert done.returncode == 0, done.stderr[-2000:]
        (line,) = [line for line in done.stdout.splitlines() if line.startswith("{")]
        assert json.loads(line)["processes"] == 2
        alone, together = (read_container(f / CHECKPOINT_FILE, "distillation")[0] for f in (one, two))
        moved = 0.0
        for name, tensor in alone.items():
            if name.startswith("student."):
                torch.testing.assert_close(together[name], tensor, atol=2e-5, rtol=1e-3)
                moved = max(moved, float(tensor.abs().max()))
        assert moved > 0
        losses = [
            [json.loads(line)["loss"] for line in (f / "log.jsonl").read_text().splitlines()]
            for f in (one, two)
        ]
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)

    def test_other_geometry(self, arguments, scene, tmp_path, capsys):
        """Gaussians of a field, onto which features are lifted anew, and depths that a plane sweep finds."""
        read = read_scene(scene, downscale=2)
        contexts = [see(view, "scene") for view in read.split("train")]
        splats = DepthReconstructor()(contexts).splats
        about = About(scene=read.name, world_from_capture=read.world_from_capture)
        write_archive(FeatureField(splats, {}, about), tmp_path / "fits" / f"{read.name}.safetensors")
        short = [word if arguments[place - 1] != "--steps" else "1" for place, word in enumerate(arguments)]
        shares = {}
        for name, geometry in {
            "data": "data", "fitted": f"fitted:{tmp_path}/fits/{{scene}}.safetensors", "sweep": "sweep"
        }.items():  # fmt: skip
            assert main([*short, "-o", str(tmp_path / name), "--geometry", geometry]) == 0
            assert json.loads(capsys.readouterr().out)["steps"] == 1
            (line,) = (tmp_path / name / "log.jsonl").read_text().splitlines()
            shares[name] = json.loads(line)["valid"]
        assert shares["data"] > 0.2 and shares["fitted"] > 0.8 * shares["data"] and shares["sweep"] > 0, (
            shares
        )

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            (["--features", "classical"], "cannot be trained"),
            (["--blend", "2"], "--blend is a share from 0 to 1"),
            (["--steps", "0"], "--steps must be positive"),
            (["--resume"], "leave out --resume"),
            (["--geometry", "fitted"], "fitted:fits/{scene}"),
        ],
    )
    def test_what_cannot_work_is_refused(self, arguments, tmp_path, capsys, changes, words):
        assert main([*arguments, "-o", str(tmp_path / "out"), *changes]) == 1
        assert words in json.loads(capsys.readouterr().out)["error"]["message"]
        assert not (tmp_path / "out").exists()
