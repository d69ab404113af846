"""`--load-config`: a nerfstudio run in the place of a field, whatever its files hold. Needs no nerfstudio."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from tiny_fields import photograph, two_balls

from featurefields.adapters.nerfstudio.checkpoint import newest_checkpoint, read_checkpoint
from featurefields.adapters.nerfstudio.run import Run, Stages, frame_note
from featurefields.errors import FileFormatError
from featurefields.files.archive import read_archive, write_archive
from featurefields.fitting.appearance import AppearanceConfig
from featurefields.fitting.densify import DensifyConfig
from featurefields.lifting.stage import LiftingConfig
from featurefields.maths.similarity import Similarity
from featurefields.raster import choose_rasterizer
from featurefields.readers import read_scene
from featurefields_cli import load_config, main

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "outputs" / "scene" / "method" / "now"
    folder.mkdir(parents=True)
    (folder / "config.yml").write_text("!!python/object:somewhere.Config {}\n")
    return folder


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, torch.Tensor]]:
    """States of a run after each of its four steps."""
    scene = read_scene(photograph(tmp_path_factory.mktemp("photos") / "tiny"))
    stages = Stages(
        appearance=AppearanceConfig(steps=4, densify=DensifyConfig(budget=100)),
        lifting=LiftingConfig(dim=4, cache=tmp_path_factory.mktemp("cache")),
        features="classical",
        notes={"kind": "nerfstudio", "world_from_nerfstudio": frame_note(Similarity.identity())},
    )
    run, found = Run(scene, stages, choose_rasterizer("cpu"), "cpu"), []
    while not run.done:
        run.step()
        found.append({name: tensor.clone() for name, tensor in run.state().items()})
    return found


def checkpoint(folder: Path, step: int, state: object) -> Path:
    """A file such as nerfstudio writes them."""
    path = folder / "nerfstudio_models" / f"step-{step:09d}.ckpt"
    path.parent.mkdir(exist_ok=True)
    pipeline = (
        {f"_model.run.{name}": tensor for name, tensor in state.items()} if isinstance(state, dict) else state
    )
    torch.save({"step": step, "pipeline": pipeline, "optimizers": {}, "scalers": {}}, path)
    return path


class TestArchive:
    def test_it_stands_beside(self, run_folder: Path):
        archive = run_folder / load_config.FIELD_FILE
        archive.touch()
        config = str(run_folder / "config.yml")
        assert load_config.archive_beside(run_folder) == archive
        for words in (["--load-config", config], [f"--load-config={config}"], ["--load_config", config]):
            assert load_config.with_archive("edit", ["-o", "x", *words, "--json"]) == [
                "-o", "x", str(archive), "--json",
            ]  # fmt: skip
        assert load_config.with_archive("bench", ["--load-config", config]) == ["--field", str(archive)]

    def test_commands_without_a_field_do_not_know_it(self):
        assert load_config.with_archive("fit", ["--load-config", "x"]) == ["--load-config", "x"]

    def test_commands_take_it(self, run_folder: Path, tmp_path: Path, capsys: Captured):
        field = two_balls()
        write_archive(field, run_folder / "field.safetensors")
        config, view = str(run_folder / "config.yml"), next(iter(field.about.cameras))
        for words in (
            ["info", "--load-config", config],
            [
                "segment",
                "--load-config",
                config,
                "--view",
                view,
                "--click",
                "20,20",
                "-o",
                str(tmp_path / "s"),
            ],
            ["edit", "--load-config", config, "--recolor", "200,30,30", "-o", str(tmp_path / "e")],
            ["export", "--load-config", config, "-o", str(tmp_path / "all.ply")],
            ["render", f"--load-config={config}", "--view", view, "-o", str(tmp_path / "r")],
        ):
            assert main([*words, "--json"]) == 0, words
            assert json.loads(capsys.readouterr().out)

    def test_a_run_may_be_moved(self, run_folder: Path, tmp_path: Path, capsys: Captured):
        """Nothing in it is found by the path that config.yml says."""
        field = two_balls()
        write_archive(field, run_folder / "field.safetensors")
        moved = shutil.move(run_folder, tmp_path / "elsewhere, renamed")
        assert main(["info", "--load-config", str(Path(moved) / "config.yml"), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["splats"] == len(field)

    @pytest.mark.parametrize("name", ["config.yml", "config.yaml", "other.YML"])
    @pytest.mark.parametrize(
        "content",
        [
            b"!!python/object/apply:os.system ['touch {trap}']\n",
            b"!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{trap}']]\n",
            b"a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n" * 50,
            b"\x00\xff\xfe no text",
            b"",
        ],
        ids=["system", "touch", "aliases", "binary", "empty"],
    )
    def test_what_config_yml_says_is_never_read(
        self, run_folder: Path, tmp_path: Path, capsys: Captured, name: str, content: bytes
    ):
        trap = tmp_path / "trap"
        write_archive(two_balls(), run_folder / "field.safetensors")
        (run_folder / name).write_bytes(content.replace(b"{trap}", str(trap).encode()))
        assert main(["info", "--load-config", str(run_folder / name), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["splats"] == len(two_balls()) and not trap.exists()

    @pytest.mark.parametrize(
        "words, told",
        [
            (["--load-config"], "was given without a path"),
            (["--load-config", "{folder}/nothing.yml"], "does not exist"),
            (
                ["--load-config", "{folder}/config.yml"],
                "there is neither field.safetensors nor a checkpoint in",
            ),
            (["--load-config", "{folder}/other.ply"], "takes the config.yml of a nerfstudio run"),
        ],
    )
    def test_mistakes_are_one_line(self, run_folder: Path, capsys: Captured, words: list[str], told: str):
        (run_folder / "other.ply").touch()
        assert main(["info", *[word.format(folder=run_folder) for word in words]]) == 1
        error = capsys.readouterr().err
        assert told in error and error.count("\n") == 1

    @pytest.mark.parametrize("content", [b"", b"\x80\x04.", b"no archive at all" * 9])
    def test_a_damaged_archive_is_one_line(self, run_folder: Path, capsys: Captured, content: bytes):
        (run_folder / "field.safetensors").write_bytes(content)
        assert main(["info", "--load-config", str(run_folder / "config.yml")]) == 1
        assert capsys.readouterr().err.count("\n") == 1


class TestCheckpoints:
    """Where training was cut off."""

    def test_the_newest_is_written_as_an_archive(
        self, run_folder: Path, states: list[dict[str, torch.Tensor]], capsys: Captured
    ):
        for step in (0, 2):
            checkpoint(run_folder, step, states[step])
        assert newest_checkpoint(run_folder) == run_folder / "nerfstudio_models" / "step-000000002.ckpt"
        assert main(["info", "--load-config", str(run_folder / "config.yml"), "--json"]) == 0
        told = capsys.readouterr()
        assert "from step-000000002.ckpt, without features: go on with ns-train --load-dir" in told.err
        assert json.loads(told.out)["splats"] == len(read_archive(run_folder))
        means = read_archive(run_folder).splats.means
        assert torch.equal(means, states[2]["field.splats.means"])
        assert not torch.equal(means, states[0]["field.splats.means"])

    def test_one_of_a_finished_run_has_features(
        self, run_folder: Path, states: list[dict[str, torch.Tensor]], capsys: Captured
    ):
        path = checkpoint(run_folder, 3, states[3])
        assert set(read_checkpoint(path).heads) == {"rgb", "feature"}
        assert main(["info", "--load-config", str(run_folder), "--json"]) == 0
        assert "without features" not in capsys.readouterr().err

    def test_an_archive_is_preferred_and_left_alone(
        self, run_folder: Path, states: list[dict[str, torch.Tensor]]
    ):
        archive = write_archive(two_balls(), run_folder / "field.safetensors")
        before = archive.read_bytes()
        checkpoint(run_folder, 9, states[3])
        assert load_config.archive_beside(run_folder) == archive and archive.read_bytes() == before

    def test_objects_in_a_checkpoint_are_not_unpickled(
        self, run_folder: Path, tmp_path: Path, capsys: Captured
    ):
        trap = tmp_path / "trap"
        checkpoint(run_folder, 1, Trap(trap))
        assert main(["info", "--load-config", str(run_folder / "config.yml")]) == 1
        error = capsys.readouterr().err
        assert "cannot be read as a checkpoint" in error and error.count("\n") == 1 and not trap.exists()
        assert not (run_folder / "field.safetensors").exists()

    @pytest.mark.parametrize("state", [{}, {"means": torch.zeros(2, 3)}, [1, 2], 7])
    def test_those_of_other_methods_are_refused(self, run_folder: Path, state: object):
        with pytest.raises(FileFormatError, match="train again"):
            read_checkpoint(checkpoint(run_folder, 1, state))

    @pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"\x80\x02}q\x00."])
    def test_damaged_ones_are_refused(self, run_folder: Path, content: bytes):
        path = checkpoint(run_folder, 1, {})
        path.write_bytes(content)
        with pytest.raises(FileFormatError, match="cannot be read as a checkpoint"):
            read_checkpoint(path)


class Trap:
    """Unpickling it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)
