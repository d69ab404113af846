"""Training the feed-forward geometry network: it learns, goes on bit for bit, and so does its command."""

import json
import math
from pathlib import Path

import pytest
import torch

from featurefields.camera import Camera
from featurefields.errors import FittingError
from featurefields.lifting.lifter.losses import losses, truth_of
from featurefields.lifting.lifter.network import Lifter, LifterConfig
from featurefields.lifting.lifter.practice import (
    Practice,
    PracticeScene,
    disturbed,
    draw_sample,
    load_practice_scene,
)
from featurefields.lifting.lifter.training import Training, TrainingConfig, held_out_errors
from featurefields.lifting.lifter.weights import load_lifter
from featurefields.readers import read_scene

SMALL = LifterConfig(planes=16, fine_planes=8)


def slanted_scene(seed: int, views: int = 4, size: tuple[int, int] = (48, 32)) -> PracticeScene:
    """Views of a slanted plane with a random pattern, and the sky above it."""
    generator = torch.Generator().manual_seed(seed)
    waves = torch.randn(3, 2, generator=generator) * 5
    cameras, pictures, depths = [], [], []
    for number in range(views):
        pose = torch.eye(4)
        pose[:3, 3] = torch.tensor([0.25 * number - 0.3, 0.0, 0.05 * number])
        camera = Camera(pose, torch.tensor([50.0, 50.0]), torch.tensor([size[0] / 2, size[1] / 2]), size)
        directions = camera.directions()
        normal = torch.tensor([0.1, 0.3, 1.0])
        distance = (2.2 - normal @ camera.position) / (directions @ normal)
        points = camera.position + distance[..., None] * directions
        depth = (points - camera.position) @ camera.forward
        colours = 0.5 + 0.4 * torch.sin(points[..., :2] @ waves.T)
        sky = points[..., 1] < -0.5
        colours[sky], depth[sky] = 1.0, torch.inf
        cameras.append(camera)
        pictures.append((colours.permute(2, 0, 1) * 255).round().to(torch.uint8))
        depths.append(depth)
    return PracticeScene(f"plane-{seed}", tuple(cameras), torch.stack(pictures), torch.stack(depths))


def practice(count: int = 2) -> Practice:
    return Practice([lambda seed=seed: slanted_scene(seed) for seed in range(count)])


def training(steps: int, **settings) -> Training:
    settings = {"views": 3, "references": 1, "rate": 3e-3, "warm_up": 5, "seed": 1, **settings}
    return Training(practice(), TrainingConfig(steps=steps, **settings), SMALL)


def test_the_loss_falls() -> None:
    run = training(60, cool_down=0.2, rate=2e-3)
    told = [run.run_step() for _ in range(60)]
    first, last = (sum(facts["loss"] for facts in part) / len(part) for part in (told[:10], told[-30:]))
    assert last < 0.85 * first, (first, last)
    assert set(told[0]) == {"loss", "coarse", "fine", "place", "confidence", "surface", "median error"}


def test_every_weight_learns() -> None:
    run = training(2)
    before = {name: value.clone() for name, value in run.lifter.named_parameters()}
    for _ in range(3):
        run.run_step()
    still = [name for name, value in run.lifter.named_parameters() if torch.equal(before[name], value)]
    assert not still
    changed = [not torch.equal(before[name], value) for name, value in run.averaged.named_parameters()]
    assert all(changed)


def test_resumed_training_is_the_same_bit_for_bit(tmp_path: Path) -> None:
    whole, first = training(6), training(6)
    facts = [whole.run_step() for _ in range(6)]
    for _ in range(3):
        first.run_step()
    first.save(tmp_path / "checkpoint.safetensors")
    second = training(6)
    second.load(tmp_path / "checkpoint.safetensors")
    assert [second.run_step() for _ in range(3)] == facts[3:]
    for mine, other in ((whole.lifter, second.lifter), (whole.averaged, second.averaged)):
        for name, value in mine.state_dict().items():
            assert torch.equal(value, other.state_dict()[name]), name


def test_resuming_with_other_settings_is_refused_but_longer_is_fine(tmp_path: Path) -> None:
    run = training(4)
    run.run_step()
    run.save(tmp_path / "c.safetensors")
    with pytest.raises(FittingError, match=r"rate = 0.003, now it is 0.001"):
        training(4, rate=1e-3).load(tmp_path / "c.safetensors")
    longer = training(9)
    longer.load(tmp_path / "c.safetensors")
    assert longer.step == 1


def test_rate_rises_stays_and_falls() -> None:
    run = training(100, warm_up=10, cool_down=0.4)
    rates = []
    for run.step in (0, 9, 50, 80, 99):
        rates.append(run.rate() / 3e-3)
    assert rates == pytest.approx([0.1, 1.0, 1.0, 0.5, 0.025])


def test_right_answers_cost_less_than_wrong_ones() -> None:
    """The loss's parts for the true depth against the same network's answer moved by two planes."""
    lifter, scene = Lifter(SMALL), slanted_scene(5)
    sample = draw_sample(scene, 3, torch.Generator().manual_seed(0), disturb=False)
    with torch.no_grad():
        posed = lifter.encode(sample.pictures, sample.cameras)
        swept = lifter(posed[0], posed[1:], sample.near, sample.far)
        size = (swept.place.shape[0], swept.place.shape[1])
        truth = truth_of(lifter, sample.depth[0], sample.near, sample.far, size)
        right = losses(lifter, swept._replace(place=truth.place), truth, sample.near, sample.far)
        wrong = losses(lifter, swept._replace(place=truth.place + 2), truth, sample.near, sample.far)
    assert right["place"] < 1e-6 < wrong["place"]
    assert right["coarse"] == wrong["coarse"]
    sky = ~sample.depth[0].isfinite()
    assert 0.05 < sky.float().mean() < 0.95
    assert not truth.surface[sky].any() and truth.surface[~sky].all()
    assert (truth.weight[sky] > 0).all(), "the sky is known not to be a surface"


def test_samples_vary_with_the_generator_only() -> None:
    scene = slanted_scene(2)
    first, again, other = (draw_sample(scene, 3, torch.Generator().manual_seed(s)) for s in (4, 4, 5))
    assert torch.equal(first.pictures, again.pictures) and (first.near, first.far) == (again.near, again.far)
    assert not torch.equal(first.pictures, other.pictures)
    seen = first.depth[first.depth.isfinite()]
    assert 0 < first.near < seen.median() < first.far and first.pictures.shape == (3, 3, 32, 48)


def test_disturbed_views_stay_alike() -> None:
    pictures = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1)).expand(4, -1, -1, -1)
    changed = disturbed(pictures, torch.Generator().manual_seed(2))
    assert changed.min() >= 0 and changed.max() <= 1
    assert (changed[0] - changed[1]).abs().mean() < 0.1 * (changed[0] - pictures[0]).abs().mean() + 0.06


def test_held_out_errors_are_those_of_the_first_view() -> None:
    facts = held_out_errors(Lifter(SMALL), practice(), 3)
    assert len(facts) == 2
    for fact in facts:
        assert fact["median"] > 0 and 0 <= fact["within 2 %"] <= fact["within 5 %"] <= 1


def test_scenes_without_depth_are_refused(demo_scene: Path) -> None:
    from dataclasses import replace

    scene = read_scene(demo_scene, points=False)
    with pytest.raises(FittingError, match="cannot be trained on"):
        load_practice_scene(replace(scene, views=scene.views[:1]))


@pytest.fixture(scope="module")
def practice_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two practice scenes of three views each."""
    pytest.importorskip("open3d", reason="practice scenes need open3d")
    from featurefields_assets.practice.folder import write_practice_scene

    folder = tmp_path_factory.mktemp("practice")
    for number in range(2):
        write_practice_scene(folder, 5, number, views=3)
    return folder


def test_practice_scenes_are_ordinary_scenes(practice_folder: Path, tmp_path: Path) -> None:
    from featurefields_assets.practice.folder import scene_folder, write_practice_scene

    folder = scene_folder(practice_folder, 5, 0)
    scene = read_scene(folder)
    assert len(scene.views) == 3 and not scene.missing
    read = load_practice_scene(scene)
    assert read.pictures.shape[0] == 3 and (read.depth > 0).all()
    again = write_practice_scene(tmp_path, 5, 0, views=3)
    for path in sorted(folder.rglob("*.png")):
        assert path.read_bytes() == (again / path.relative_to(folder)).read_bytes(), path.name


def test_practice_depth_explains_the_pictures(practice_folder: Path) -> None:
    """What one view shows is found in another one where its depth says; not at a tenth more depth."""
    from featurefields.lifting.lifter.sweep import sweep_of, warped

    better = 0
    for folder in sorted(practice_folder.iterdir()):
        scene = load_practice_scene(read_scene(folder, points=False))
        pictures, depth = scene.pictures.float() / 255, scene.depth[0]
        sweep = sweep_of(scene.cameras[0], scene.cameras[1], 1, 1.0)
        residual = {}
        for wrong in (1.0, 1.1):
            values, inside = warped(pictures[1:2], sweep, (1 / (depth * wrong))[None])
            seen = inside[0] & depth.isfinite()
            residual[wrong] = (values[0] - pictures[0].permute(1, 2, 0)).abs().mean(-1)[seen].median()
        better += bool(residual[1.0] < residual[1.1])
    assert better == 2


def test_the_command_trains_resumes_and_reports(
    practice_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from featurefields_cli.main import main

    output = tmp_path / "lifter"
    data = [str(folder) for folder in sorted(practice_folder.iterdir())]
    words = ["train-lifter", "-o", str(output), "--scenes", "0", "--data", *data, "--held-out", "1", "--json"]
    words += ["--views", "2", "--references", "1"]
    assert main([*words, "--steps", "2"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["steps"] == 2 and told["training_scenes"] == 1 and math.isfinite(told["held-out_median"])
    assert main([*words, "--steps", "2"]) == 1, "what is there is not replaced"
    assert "exists" in json.loads(capsys.readouterr().out)["error"]["message"]
    assert main([*words, "--steps", "3", "--resume"]) == 0
    lifter, record = load_lifter(output / "lifter.safetensors")
    assert record["step"] == 3 and "--steps 3" in str(record["command"]) and str(tmp_path) not in str(record)
    assert json.loads((output / "lifter.json").read_text()) == record
    lines = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "held_out" in line] == [2, 3]
    assert lifter.config == LifterConfig()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--steps", "0"], "--steps must be positive"),
        (["--views", "1"], "at least 2"),
        (["--scenes", "-1"], "cannot be negative"),
        (["--scenes", "0"], "leave none to train on"),
        (["--resume"], "no training"),
        (["--data", "/nowhere"], "nowhere"),
    ],
)
def test_what_cannot_work_is_refused(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from featurefields_cli.main import main

    assert main(["train-lifter", "-o", str(tmp_path / "x"), "--json", *words]) == 1
    assert message in json.loads(capsys.readouterr().out)["error"]["message"]
