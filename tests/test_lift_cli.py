"""`ff lift` on the scene that ships with the package, what other commands do with the result, and `ff fit --start`."""

import json
from pathlib import Path

import pytest
import torch

from featurefields.files.archive import read_archive
from featurefields_cli import main


def run(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> dict:
    """The JSON object that a command prints."""
    found = main([*map(str, arguments), "--json"])
    captured = capsys.readouterr()
    assert found == code, captured.err
    return json.loads(captured.out)


@pytest.fixture(scope="module")
def lifted(demo_scene: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four views of the demo scene, lifted with its depth maps and classical features."""
    folder = tmp_path_factory.mktemp("lifted")
    arguments = ["lift", "--data", demo_scene, "-o", folder / "four", "--views", "4", "--geometry", "data",
                 "--features", "classical", "--downscale", "2", "--cache", folder / "cache", "--json"]  # fmt: skip
    assert main([str(argument) for argument in arguments]) == 0
    return folder / "four"


def test_the_result_is_an_ordinary_field(lifted: Path):
    field = read_archive(lifted)
    assert set(field.heads) == {"rgb", "feature"} and field.about.notes["geometry"] == "data"
    context, held = field.about.notes["context_views"], field.about.notes["test_views"]
    assert isinstance(context, list) and isinstance(held, list)
    assert len(context) == 4 and len(held) == 52 and not set(context) & set(held)
    assert set(field.about.cameras) == {*context, *held}
    assert float(field.about.notes["held_out_psnr"]) > 17  # type: ignore[arg-type]
    assert 5_000 < len(field) < 25_600 + 10_000


def test_the_same_photos_give_the_same_bytes(
    lifted: Path, demo_scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run(capsys, "lift", "--data", demo_scene, "-o", tmp_path / "again", "--views", 4, "--geometry", "data",
        "--features", "classical", "--downscale", 2, "--cache", tmp_path / "cache")  # fmt: skip
    first, second = (folder / "field.safetensors" for folder in (lifted, tmp_path / "again"))
    assert first.read_bytes() == second.read_bytes()


def test_it_is_segmented_measured_and_exported(
    lifted: Path, demo_scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    clicks = json.loads((demo_scene / "clicks.json").read_text())
    click = next(iter(clicks.values()))
    found = run(capsys, "segment", lifted, "--view", Path(click["image"]).name, "--click",
                f"{click['x']},{click['y']}", "-o", tmp_path / "selected.safetensors")  # fmt: skip
    assert (tmp_path / "selected.safetensors").exists(), found
    run(capsys, "export", lifted, "-o", tmp_path / "splats.ply")
    assert (tmp_path / "splats.ply").stat().st_size > 10_000


def test_views_are_named_counted_or_near(
    demo_scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    fast = ["--geometry", "data", "--features", "none", "--downscale", 4]
    run(
        capsys,
        "lift",
        "--data",
        demo_scene,
        "-o",
        tmp_path / "named",
        "--views",
        "train_001",
        "train_004.jpg",
        *fast,
    )
    assert read_archive(tmp_path / "named").about.notes["context_views"] == [
        "images/train_001.jpg", "images/train_004.jpg",
    ]  # fmt: skip
    run(
        capsys,
        "lift",
        "--data",
        demo_scene,
        "-o",
        tmp_path / "near",
        "--views",
        3,
        "--around",
        "test_002",
        *fast,
    )
    notes = read_archive(tmp_path / "near").about.notes
    assert any("test_002" in str(name) for name in notes["test_views"]) and len(notes["context_views"]) == 3  # type: ignore[operator,arg-type]
    for arguments, says in (
        (["--views", "1"], "at least two"),
        (["--views", "train_001", "train_002", "--around", "test_002"], "--around"),
        (["--views", "train_001", "nothing"], "no view is called 'nothing'"),
        (["--geometry", "guesses"], "unknown geometry provider"),
        (["--downscale", "-1"], "--downscale must be positive"),
    ):
        told = run(
            capsys, "lift", "--data", demo_scene, "-o", tmp_path / "no", *fast[2:4], *arguments, code=1
        )
        assert says in told["error"]["message"]
    assert not (tmp_path / "no").exists()


def test_existing_results_stay(lifted: Path, demo_scene: Path, capsys: pytest.CaptureFixture[str]):
    before = (lifted / "field.safetensors").read_bytes()
    told = run(capsys, "lift", "--data", demo_scene, "-o", lifted, code=1)
    assert "--overwrite" in told["error"]["message"] and (lifted / "field.safetensors").read_bytes() == before


def test_a_fit_goes_on_from_it(
    lifted: Path, demo_scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    def fitted(name: str, *more: object) -> float:
        arguments = ["fit", "--data", demo_scene, "-o", tmp_path / name, "--steps", 6, "--features", "none",
                     "--downscale", 2, "--colour", "harmonics", *more]  # fmt: skip
        return float(run(capsys, *arguments)["held-out_PSNR_dB"])

    started, scratch = fitted("on", "--start", lifted), fitted("new")
    assert started > scratch + 2
    field = read_archive(tmp_path / "on")
    assert len(field) == len(read_archive(lifted))
    assert torch.isfinite(field.splats.means).all()


def test_a_start_must_be_of_the_same_scene_and_have_colours(
    lifted: Path, shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    told = run(capsys, "fit", "--data", shared_data / "llff-fern", "-o", tmp_path / "no", "--steps", 2,
               "--downscale", 8, "--features", "none", "--start", lifted, code=1)  # fmt: skip
    assert "another scene" in told["error"]["message"]
