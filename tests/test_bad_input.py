"""Bad input of every kind, through the command line: exit code 1, one line that helps, and a disk as it was."""

import json
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from tiny_fields import edited_document, photograph, pixel_of, two_balls

from featurefields.editing.baking import bake_harmonics
from featurefields.files.archive import write_archive
from featurefields.files.container import write_container
from featurefields.files.ply import write_ply
from featurefields.files.selection import write_selection
from featurefields.selection import Selection
from featurefields_cli import main

Arguments = list[object]
VIEW = "images/004.png"


def tree(folder: Path) -> dict[str, bytes | None]:
    """Everything in a folder: path → content (None for folders)."""
    return {
        path.relative_to(folder).as_posix(): None if path.is_dir() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
    }


def failure(capsys: pytest.CaptureFixture[str], arguments: Arguments, folder: Path, said: str) -> None:
    """The command must fail with exit code 1 and one error line that says `said`, and leave `folder` as it was."""
    before = tree(folder)
    for more in ([], ["--json"]):
        code = main([*map(str, arguments), *more])
        captured = capsys.readouterr()
        lines = captured.err.splitlines()
        assert code == 1, captured.err
        assert [line.startswith("error: ") for line in lines[-1:]] == [True], captured.err
        assert sum(line.startswith("error:") for line in lines) == 1 and "Traceback" not in captured.err
        assert said in lines[-1], lines[-1]
        if more:
            assert len(lines) == 1, "with --json nothing but the error is told"
            assert json.loads(captured.out)["error"]["message"] == lines[0].removeprefix("error: ")
        else:
            assert captured.out == ""
        assert tree(folder) == before, "something was lost or left behind"


@contextmanager
def full_disk(free: int) -> Iterator[None]:
    """No file may grow beyond `free` bytes, as if the disk were full; the system says so by an OSError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return photograph(tmp_path / "balls", views=4)


@pytest.fixture
def field(tmp_path: Path) -> Path:
    """A field with features and views whose photos are gone."""
    (tmp_path / "field").mkdir()
    write_archive(two_balls(), tmp_path / "field" / "field.safetensors")
    return tmp_path / "field"


def no_poses(folder: Path) -> str:
    (folder / "transforms.json").unlink()
    return f"no scene in {folder}: looked for transforms.json"


def no_folder(folder: Path) -> str:
    import shutil

    shutil.rmtree(folder)
    return f"{folder} does not exist"


def cut_off_photo(folder: Path) -> str:
    path = folder / "images" / "002.png"
    path.write_bytes(path.read_bytes()[:300])
    return str(path)


def text_for_a_photo(folder: Path) -> str:
    (folder / "images" / "001.png").write_text("not a picture")
    return "001.png"


def no_photo_at_all(folder: Path) -> str:
    for path in (folder / "images").iterdir():
        path.unlink()
    return "no usable photo: of 4"


def nan_pose(folder: Path) -> str:
    frames = json.loads((folder / "transforms.json").read_text())["frames"]
    frames[1]["transform_matrix"][0][3] = float("nan")
    edited_document(folder, frames=frames)
    return "frame 1"


def no_frames(folder: Path) -> str:
    edited_document(folder, frames=[])
    return "lists no frames"


def all_held_out(folder: Path) -> str:
    names = [frame["file_path"] for frame in json.loads((folder / "transforms.json").read_text())["frames"]]
    edited_document(folder, train_filenames=[], test_filenames=names)
    return "has no view to fit: all 4 are held out; leave some photos in the training split"


def broken_json(folder: Path) -> str:
    file = folder / "transforms.json"
    file.write_text(file.read_text()[:200])
    return "is not valid JSON"


def other_shape(folder: Path) -> str:
    from tiny_scenes import photo

    photo(folder / "images" / "000.png")  # 48 x 32 instead of 40 x 40
    return "another shape"


BROKEN_SCENES = [
    no_poses, no_folder, cut_off_photo, text_for_a_photo, no_photo_at_all, nan_pose, no_frames, all_held_out,
    broken_json, other_shape,
]  # fmt: skip


@pytest.mark.parametrize("spoil", BROKEN_SCENES, ids=lambda spoil: spoil.__name__)
def test_a_scene_that_cannot_be_fitted(spoil: Callable[[Path], str], photos: Path, tmp_path: Path, capsys):
    said = spoil(photos)
    arguments = ["fit", "--data", photos, "-o", tmp_path / "out", "--features", "none", "--steps", 3]
    failure(capsys, arguments, tmp_path, said)


@pytest.mark.parametrize(
    "more, said",
    [
        (["--features", "clasical"], "unknown feature extractor 'clasical' (did you mean 'classical'?)"),
        (["--features", "onnx:nowhere.onnx"], "nowhere.onnx"),
        (["--features", "none", "--backend", "cpuu"], "unknown backend 'cpuu' (did you mean 'cpu'?)"),
        (["--features", "none", "--steps", 0], "--steps must be positive, got 0"),
        (["--features", "none", "--splats", -5], "--splats must be positive, got -5"),
        (["--features", "none", "--downscale", 0.5], "cannot scale photos down by 0.5"),
        (["--features", "none", "--downscale", "nan"], "cannot scale photos down by nan"),
        (["--features", "classical", "--feature-dim", 0], "--feature-dim must be positive, got 0"),
        (["--features", "none", "--resume"], "there is no interrupted fit in"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
)
def test_options_of_fit_that_make_no_sense(more: Arguments, said: str, photos: Path, tmp_path: Path, capsys):
    failure(
        capsys,
        ["fit", "--data", photos, "-o", tmp_path / "out", "--cache", tmp_path / "c", *more],
        tmp_path,
        said,
    )


def test_cuda_where_there_is_none(photos: Path, tmp_path: Path, capsys):
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    arguments = ["fit", "--data", photos, "-o", tmp_path / "out", "--features", "none", "--device", "cuda"]
    failure(capsys, arguments, tmp_path, "torch finds no CUDA device here; use --device cpu")


def test_resuming_with_other_settings(photos: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch):
    from featurefields.fitting.appearance import AppearanceFit

    def stop(self: AppearanceFit) -> dict[str, float]:
        raise KeyboardInterrupt

    fit = ["fit", "--data", photos, "-o", tmp_path / "out", "--features", "none", "--steps", 4]
    with monkeypatch.context() as patched:
        patched.setattr(AppearanceFit, "run_step", stop)
        assert main([*map(str, fit)]) == 130
    capsys.readouterr()
    assert (tmp_path / "out" / "checkpoint.safetensors").exists()
    failure(
        capsys,
        [*fit[:-1], 5, "--resume"],
        tmp_path,
        "was written with steps = 4, now it is 5; resume with the same",
    )


def clicked(field: Path, tmp_path: Path, *more: object) -> Arguments:
    return ["segment", field, "--view", VIEW, "-o", tmp_path / "out", *more]


@pytest.mark.parametrize(
    "more, said",
    [
        (["--click", "40,5"], "the click 40,5 is outside images/004.png, which is 40 x 40 pixels"),
        (["--click=-1,5"], "the click -1,5 is outside"),
        (["--click", "nan,5"], "is outside"),
        (["--click", "here"], "a click is two numbers x,y (pixels of the photo), got 'here'"),
        (["--click", "1,2,3"], "a click is two numbers x,y"),
        (
            ["--click", "20,1"],
            "the click 20,1 hits nothing: only 0% of it is covered by splats (sky, or a hole",
        ),
        (["--click", "20,30", "--negative", "20,1"], "hits nothing"),
        (["--negative", "20,30"], "nothing was clicked; say which pixel shows the object with --click X,Y"),
        (["--click", "20,30", "--backend", "gpu"], "unknown backend 'gpu'"),
        (["--click", "20,30", "--data", "nowhere"], "nowhere"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
)
def test_clicks_that_make_no_sense(more: Arguments, said: str, field: Path, tmp_path: Path, capsys):
    failure(capsys, clicked(field, tmp_path, *more), tmp_path, said)


@pytest.mark.parametrize("name", ["nine", "images/099.png", ""])
def test_an_unknown_view(name: str, field: Path, tmp_path: Path, capsys):
    for arguments in (
        ["segment", field, "--view", name, "--click", "20,30", "-o", tmp_path / "out"],
        ["render", field, "--view", name, "-o", tmp_path / "out"],
    ):
        failure(
            capsys, arguments, tmp_path, f"no view is called '{name}'; for example there are: images/000.png"
        )


def test_a_field_without_features_cannot_be_clicked(field: Path, tmp_path: Path, capsys):
    from dataclasses import replace

    whole = two_balls()
    write_archive(replace(whole, heads={"rgb": whole.heads["rgb"]}), tmp_path / "plain.safetensors")
    said = "has no features (heads: rgb); fit it with `ff fit`"
    failure(capsys, clicked(tmp_path / "plain.safetensors", tmp_path, "--click", "20,30"), tmp_path, said)


def test_a_ply_has_no_views_to_click_in(tmp_path: Path, capsys):
    write_ply(bake_harmonics(two_balls()), tmp_path / "balls.ply")
    failure(
        capsys,
        clicked(tmp_path / "balls.ply", tmp_path, "--click", "20,30"),
        tmp_path,
        "remembers no views to click in",
    )


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A selection that was made on another scene with as many Gaussians."""
    return write_selection(
        Selection(torch.ones(264, dtype=torch.bool), torch.zeros(264), "0123456789abcdef"),
        tmp_path / "other.safetensors",
    )


@pytest.mark.parametrize(
    "command",
    [
        ["edit", "--remove-specular", "-o", "edited"],
        ["edit", "--delete", "-o", "edited.ply"],
        ["export", "-o", "object.ply"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_a_selection_of_another_scene(command: list[str], field: Path, foreign: Path, tmp_path: Path, capsys):
    *options, output = command[1:]
    arguments = [command[0], field, "--selection", foreign, *options, tmp_path / output]
    failure(
        capsys,
        arguments,
        tmp_path,
        "the selection belongs to another scene: it was made on field 0123456789abcdef",
    )


@pytest.mark.parametrize(
    "more, said",
    [
        ([], "no edit was asked for; pass --remove-specular"),
        (["--recolor", "red"], "a colour is three whole numbers R,G,B from 0 to 255, got 'red'"),
        (["--recolor", "1,2"], "a colour is three whole numbers"),
        (["--recolor", "0,0,256"], "a colour is three whole numbers"),
        (["--roughness", 1.5], "--roughness must be between 0 and 1, got 1.5"),
        (["--roughness", "nan"], "--roughness must be between 0 and 1, got nan"),
        (["--delete"], "needs to know what; pass --selection FILE"),
        (["--delete", "--keep"], "--delete and --keep together would leave nothing"),
        (["--remove-specular", "--selection", "nowhere.safetensors"], "nowhere.safetensors does not exist"),
    ],
    ids=lambda value: " ".join(map(str, value)) or "none" if isinstance(value, list) else "",
)
def test_edits_that_make_no_sense(more: Arguments, said: str, field: Path, tmp_path: Path, capsys):
    failure(capsys, ["edit", field, "-o", tmp_path / "out", *more], tmp_path, said)


def test_a_selection_of_everything_cannot_be_deleted(field: Path, tmp_path: Path, capsys):
    everything = Selection(torch.ones(264, dtype=torch.bool), torch.zeros(264), two_balls().fingerprint())
    path = write_selection(everything, tmp_path / "all.safetensors")
    arguments = ["edit", field, "--selection", path, "--delete", "-o", tmp_path / "out"]
    failure(capsys, arguments, tmp_path, "would leave no Gaussian at all")


class TestExisting:
    """What exists stays, byte for byte, whichever of a command's files it is."""

    @pytest.mark.parametrize("name", ["field.safetensors"])
    def test_fit(self, name: str, photos: Path, tmp_path: Path, capsys):
        self.refused(["fit", "--data", photos, "--features", "none", "--steps", 2], name, tmp_path, capsys)

    @pytest.mark.parametrize(
        "name", ["selection.safetensors", "object.ply", "rest.ply", "overlay_004.png", "overlay_000.png"]
    )
    def test_segment(self, name: str, field: Path, tmp_path: Path, capsys):
        self.refused(["segment", field, "--view", VIEW, "--click", "20,30"], name, tmp_path, capsys)

    @pytest.mark.parametrize("name", ["field.safetensors", "edited.ply", "before_after.png"])
    def test_edit(self, name: str, field: Path, tmp_path: Path, capsys):
        self.refused(["edit", field, "--remove-specular"], name, tmp_path, capsys)

    @pytest.mark.parametrize(
        "name", ["field.safetensors", "index.html", "selection/object.ply", "pictures/before.png"]
    )
    def test_demo(self, name: str, tmp_path: Path, capsys):
        self.refused(["demo", "--steps", 2], name, tmp_path, capsys)

    def test_export(self, field: Path, tmp_path: Path, capsys):
        (tmp_path / "out.ply").write_bytes(b"precious")
        failure(
            capsys,
            ["export", field, "-o", tmp_path / "out.ply"],
            tmp_path,
            "out.ply exists already; pass --overwrite",
        )

    def refused(self, arguments: Arguments, name: str, tmp_path: Path, capsys) -> None:
        path = tmp_path / "out" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(b"precious")
        failure(
            capsys,
            [*arguments, "-o", tmp_path / "out"],
            tmp_path,
            "exists already; pass --overwrite to replace it",
        )


class TestFullDisk:
    """A disk that takes no more: one line, old results whole, nothing half written."""

    def commands(self, tmp_path: Path, field: Path) -> dict[str, Arguments]:
        truth = two_balls()
        x, y = pixel_of(truth, truth.about.cameras[VIEW], "red")
        return {
            "segment": ["segment", field, "--view", VIEW, "--click", f"{x},{y}", "-o", tmp_path / "out"],
            "edit": ["edit", field, "--remove-specular", "-o", tmp_path / "out"],
            "export": ["export", field, "-o", tmp_path / "out" / "all.ply"],
            "render": ["render", field, "--view", VIEW, "--layers", "rgb", "-o", tmp_path / "out"],
        }

    @pytest.mark.parametrize("name", ["segment", "edit", "export", "render"])
    def test_results_that_exist_stay_whole(self, name: str, field: Path, tmp_path: Path, capsys):
        arguments = self.commands(tmp_path, field)[name]
        assert main([*map(str, arguments)]) == 0
        capsys.readouterr()
        with full_disk(200):
            failure(capsys, [*arguments, "--overwrite"], tmp_path, "File too large; nothing was changed")

    @pytest.mark.parametrize("name", ["segment", "edit", "export", "render"])
    def test_nothing_half_written_is_left(self, name: str, field: Path, tmp_path: Path, capsys):
        (tmp_path / "out").mkdir()
        with full_disk(200):
            failure(
                capsys, self.commands(tmp_path, field)[name], tmp_path, "File too large; nothing was changed"
            )

    def test_fit(self, photos: Path, tmp_path: Path, capsys):
        arguments = ["fit", "--data", photos, "-o", tmp_path / "out", "--features", "none", "--steps", 2]
        assert main([*map(str, arguments)]) == 0
        capsys.readouterr()
        with full_disk(2000):
            failure(capsys, [*arguments, "--overwrite"], tmp_path, "File too large; nothing was changed")

    def test_a_cache_that_is_full_only_costs_time(self, photos: Path, tmp_path: Path, capsys, caplog):
        """Features that cannot be kept are held in memory; the fit itself fits on the disk."""
        whole = [
            "fit",
            "--data",
            photos,
            "-o",
            tmp_path / "out",
            "--features",
            "classical",
            "--steps",
            2,
            "--json",
        ]
        (tmp_path / "c").write_text("a file where the cache should be")
        assert main([*map(str, whole), "--cache", str(tmp_path / "c")]) == 0
        assert "feature cache" in caplog.text
        assert "feature" in json.loads(capsys.readouterr().out)["heads"]


class TestDamagedFiles:
    COMMANDS = (["info"], ["export", "-o", "out.ply"], ["edit", "--remove-specular", "-o", "out"])

    def refused(self, path: Path, said: str, tmp_path: Path, capsys) -> None:
        for name, *more in self.COMMANDS:
            options = [tmp_path / value if value.startswith("out") else value for value in more]
            failure(capsys, [name, path, *options], tmp_path, said)

    @pytest.mark.parametrize("column", ["x", "opacity", "scale_1", "rot_3", "f_dc_0"])
    def test_a_ply_with_a_missing_column(self, column: str, tmp_path: Path, capsys):
        path = write_ply(bake_harmonics(two_balls(), degree=0), tmp_path / "balls.ply")
        head, _, body = path.read_bytes().partition(b"end_header\n")
        path.write_bytes(
            head.replace(f"property float {column}\n".encode(), f"property float u{column}\n".encode())
            + b"end_header\n"
            + body
        )
        self.refused(path, column, tmp_path, capsys)

    def test_a_ply_that_was_cut_off(self, tmp_path: Path, capsys):
        path = write_ply(bake_harmonics(two_balls(), degree=0), tmp_path / "balls.ply")
        path.write_bytes(path.read_bytes()[:-1000])
        self.refused(path, "balls.ply", tmp_path, capsys)

    def test_an_archive_of_a_newer_schema(self, field: Path, tmp_path: Path, capsys):
        path = field / "field.safetensors"
        path.write_bytes(path.read_bytes().replace(b'{\\"schema\\": 1,', b'{\\"schema\\": 9,'))
        self.refused(
            field,
            "was written by a newer featurefields: schema 9, this version reads up to 1; upgrade",
            tmp_path,
            capsys,
        )

    def test_an_archive_that_was_cut_off(self, field: Path, tmp_path: Path, capsys):
        path = field / "field.safetensors"
        path.write_bytes(path.read_bytes()[:-500])
        self.refused(field, "is truncated", tmp_path, capsys)

    def test_something_else_of_ours(self, tmp_path: Path, capsys):
        path = write_container(tmp_path / "c.safetensors", {"a": torch.zeros(3)}, {}, kind="checkpoint")
        said = "is a featurefields checkpoint, not a field; pass a field file"
        for name, *more in self.COMMANDS[1:]:
            options = [tmp_path / value if value.startswith("out") else value for value in more]
            failure(capsys, [name, path, *options], tmp_path, said)

    def test_a_folder_of_photos_is_no_field(self, photos: Path, tmp_path: Path, capsys):
        said = (
            "is a folder without field.safetensors, so it holds no field; give the folder that `ff fit` wrote"
        )
        failure(capsys, clicked(photos, tmp_path, "--click", "1,2"), tmp_path, said)
