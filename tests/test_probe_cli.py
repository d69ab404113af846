"""`ff probe` on the scene that ships with the package, under two names."""

import json
import shutil
from pathlib import Path

import pytest

from featurefields_cli import main


@pytest.fixture(scope="module")
def scenes(demo_scene: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("scenes")
    for name in ("a", "b"):
        shutil.copytree(demo_scene, folder / name)
    return [str(folder / "a"), str(folder / "b")]


def short(scenes: list[str], tmp_path: Path, *more: str) -> list[str]:
    return [
        "probe", "--data", *scenes, "--features", "classical", "--seeds", "2", "--steps", "4", "--every", "6",
        "--longest-side", "48", "--cache", str(tmp_path / "cache"), *more,
    ]  # fmt: skip


def test_json(scenes: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "probes.json"
    assert main(short(scenes, tmp_path, "--json", "-o", str(output))) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {**json.loads(output.read_text(encoding="utf-8")), "paths": [str(output)]}
    assert told["held_out"].endswith("of 1 scene: b") and told["seeds"] == 2
    tasks = told["extractors"]["classical"]["tasks"]
    assert list(tasks) == ["depth", "normals", "segmentation", "correspondence"]
    rmse = tasks["depth"]["numbers"]["rmse"]
    assert len(rmse["seeds"]) == 2 and rmse["mean"] == pytest.approx(sum(rmse["seeds"]) / 2)
    assert told["depth_rmse"]["classical"] == pytest.approx(rmse["mean"], abs=1e-4)
    assert tasks["depth"]["counts"]["pixels"] > 0 and tasks["correspondence"]["counts"]["pairs"] > 0
    assert any(name.startswith("agreement ") for name in tasks["correspondence"]["numbers"])
    assert main(short(scenes, tmp_path, "-o", str(output))) == 1, "nothing is replaced unasked"
    assert "exists already" in capsys.readouterr().err


def test_tables(scenes: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = short(scenes, tmp_path, "--tasks", "segmentation", "correspondence", "--labels", "material")
    assert main(arguments) == 0
    told = capsys.readouterr().out
    for words in (
        "miou %",
        "recall 10px %",
        "recall at 10 px by rotation",
        "contrast to other points",
        "±",
        "probed 1 extractor",
    ):
        assert words in told
    assert "depth of held-out" not in told


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--seeds", "0"), "--seeds must be at least 1"),
        (("--held-out", "c"), "cannot hold out scene 'c'"),
        (("--layout", "nyu"), "unknown probe data layout 'nyu'"),
        (("--features", "none"), "--features names the extractors"),
        (("--held-out", "a", "b", "--tasks", "depth"), "no training picture has depth"),
    ],
)
def test_refusals(
    more: tuple[str, ...], said: str, scenes: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(short(scenes, tmp_path, *more)) == 1
    assert said in capsys.readouterr().err
