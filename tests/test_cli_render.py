"""`ff render`: videos, camera paths and comparisons, through the command line on a scene of 40 x 40 pixels."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_fields import part, picture, two_balls

from featurefields.field import FeatureField
from featurefields.files.archive import write_archive
from featurefields.files.ply import write_ply
from featurefields.images import read_image
from featurefields.maths.similarity import Similarity
from featurefields_cli import main

av = pytest.importorskip("av", reason="PyAV is not installed")
TURN = Similarity(0.5, torch.eye(3)[[1, 2, 0]], torch.tensor([0.1, -0.2, 0.3]))


def ff(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict:
    """Run in this process with --json; it must succeed and everything it says it wrote must be there."""
    code = main([*map(str, arguments), "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    facts = json.loads(captured.out)
    for path in facts["paths"]:
        assert Path(path).stat().st_size > 0, path
    return facts


def failure(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line of a command that fails."""
    assert main([*map(str, arguments)]) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    return captured.err


def frames(path: str | Path) -> list[torch.Tensor]:
    with av.open(str(path)) as container:
        shown = [np.array(each.to_ndarray(format="rgb24")) for each in container.decode(video=0)]
    return [torch.from_numpy(each).float() / 255 for each in shown]


@pytest.fixture(scope="module")
def field() -> FeatureField:
    made = two_balls("harmonics")
    return replace(made, about=replace(made.about, notes={"test_views": ["images/002.png"]}))


@pytest.fixture(scope="module")
def archive(field: FeatureField, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_archive(field, tmp_path_factory.mktemp("before") / "balls.safetensors")


@pytest.fixture(scope="module")
def other(field: FeatureField, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The field without its red ball, as it lies in another frame."""
    rest = field.with_splats(field.splats.select(~part("red"))).moved(TURN)
    return write_archive(rest, tmp_path_factory.mktemp("after") / "rest.safetensors")


class TestVideo:
    def test_frames_of_a_flight_are_what_is_drawn(
        self, archive: Path, field: FeatureField, tmp_path: Path, capsys
    ):
        told = ff(
            capsys, "render", archive, "-o", tmp_path / "fly.mp4", "--fly", "5", "--fps", "10",
            "--view", "000", "--view", "001", "--view", "002",
        )  # fmt: skip
        assert (told["frames"], told["fps"], told["seconds"], told["layers"]) == (5, 10, 0.5, ["rgb"])
        shown = frames(told["paths"][0])
        assert len(shown) == 5
        for frame, view in ((0, "000"), (2, "001"), (4, "002")):
            expected = picture(field, field.about.cameras[f"images/{view}.png"]).clamp(0, 1)
            assert (shown[frame] - expected).abs().mean() < 0.03
            assert (shown[1] - expected).abs().mean() > 0.04

    def test_layers_side_by_side_or_each_in_a_file(self, archive: Path, tmp_path: Path, capsys):
        layers = ("--layers", "rgb", "feature", "depth")
        one = ff(capsys, "render", archive, "-o", tmp_path / "all.webm", "--orbit", "2", *layers)
        (first, _) = frames(one["paths"][0])
        assert first.shape == (68, 136, 3)
        each = ff(
            capsys, "render", archive, "-o", tmp_path / "each", "--video", "mp4", "--orbit", "2", *layers
        )
        assert [Path(path).name for path in each["paths"]] == ["rgb.mp4", "feature.mp4", "depth.mp4"]
        for path in each["paths"]:
            assert [frame.shape for frame in frames(path)] == [(40, 40, 3)] * 2

    def test_colours_do_not_depend_on_the_path(self, archive: Path, tmp_path: Path, capsys):
        common = ("render", archive, "--layers", "feature", "depth", "--view", "003")
        ff(capsys, *common, "-o", tmp_path / "a")
        ff(capsys, *common, "--view", "005", "--view", "006", "--view", "007", "-o", tmp_path / "b")
        for layer in ("feature", "depth"):
            one, two = (read_image(tmp_path / name / f"003_{layer}.png") for name in "ab")
            assert torch.equal(one, two) and one.std() > 0.05

    def test_nothing_chosen_is_an_orbit(self, archive: Path, tmp_path: Path, capsys, monkeypatch):
        monkeypatch.setattr("featurefields_cli.flights.ORBIT_FRAMES", 3)
        told = ff(capsys, "render", archive, "-o", tmp_path / "a.mp4")
        assert told["frames"] == 3 and told["fps"] == 30

    def test_existing_videos_stay(self, archive: Path, tmp_path: Path, capsys):
        (tmp_path / "a.mp4").write_bytes(b"mine")
        assert "--overwrite" in failure(capsys, "render", archive, "-o", tmp_path / "a.mp4", "--orbit", "1")
        assert (tmp_path / "a.mp4").read_bytes() == b"mine"


class TestPath:
    def test_a_path_in_the_frame_of_the_photos(
        self, other: Path, field: FeatureField, tmp_path: Path, capsys
    ):
        """The field lies in another frame than its photos; what the path says is theirs."""
        camera = field.about.cameras["images/004.png"]
        pose = camera.world_from_camera.clone()
        pose[:3, 1:3] *= -1
        keyframes = [{"camera_to_world": pose.tolist()}, {"view": "004", "seconds": 0}]
        (tmp_path / "path.json").write_text(json.dumps({"keyframes": keyframes, "fps": 5}))
        told = ff(
            capsys,
            "render",
            other,
            "-o",
            tmp_path / "out",
            "--path",
            tmp_path / "path.json",
            "--layers",
            "rgb",
        )
        one, two = (read_image(path) for path in told["paths"])
        expected = picture(field.with_splats(field.splats.select(~part("red"))), camera).clamp(0, 1)
        assert (one - expected).abs().max() < 0.02 and (two - expected).abs().max() < 0.02

    def test_a_path_of_nerfstudio_in_its_own_frame(
        self, archive: Path, field: FeatureField, tmp_path: Path, capsys
    ):
        camera = field.about.cameras["images/004.png"]
        turn = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
        shift = torch.tensor([0.4, 0.5, -0.6])
        pose = torch.eye(4)
        pose[:3, :3] = turn @ camera.world_from_camera[:3, :3] @ torch.diag(torch.tensor([1.0, -1, -1]))
        pose[:3, 3] = 0.3 * (turn @ camera.position + shift)
        transform = {"transform": torch.cat([turn, shift[:, None]], 1).tolist(), "scale": 0.3}
        fov = 2 * torch.atan(0.5 * camera.height / camera.focal_px[1]).rad2deg().item()
        frame = {"camera_to_world": pose.flatten().tolist(), "fov": fov, "aspect": 1}
        path = {"camera_path": [frame], "render_width": 40, "render_height": 40, "fps": 24}
        for name, content in (("path", path), ("transforms", transform)):
            (tmp_path / f"{name}.json").write_text(json.dumps(content))
        common = ("render", archive, "--path", tmp_path / "path.json", "--layers", "rgb")
        right = ff(
            capsys, *common, "-o", tmp_path / "a", "--nerfstudio-transform", tmp_path / "transforms.json"
        )
        expected = picture(field, camera).clamp(0, 1)
        assert (read_image(right["paths"][0]) - expected).abs().max() < 0.02
        wrong = ff(capsys, *common, "-o", tmp_path / "b")
        assert (read_image(wrong["paths"][0]) - expected).abs().mean() > 0.05


class TestCompare:
    def test_a_field_is_like_itself(self, archive: Path, tmp_path: Path, capsys):
        told = ff(capsys, "render", "--compare", archive, archive, "-o", tmp_path)
        assert told["rgb_PSNR_dB"] == "identical" and told["rgb_pixels_changed_%"] == 0
        assert [Path(path).name for path in told["paths"]] == ["002_rgb_compared.png", "002_rgb_slider.png"]
        sheet = read_image(tmp_path / "002_rgb_compared.png")
        assert torch.equal(sheet[-44:-4, 4:44], sheet[-44:-4, 48:88])
        assert (sheet[-44:-4, 92:132] == 0).all()

    @pytest.mark.parametrize("swapped", [False, True])
    def test_what_was_taken_out_is_what_differs(
        self, archive: Path, other: Path, field: FeatureField, tmp_path: Path, capsys, swapped: bool
    ):
        pair = (other, archive) if swapped else (archive, other)
        told = ff(
            capsys, "render", "--compare", *pair, "-o", tmp_path / "s.png", "--view", "004", "--view", "001"
        )
        camera = field.about.cameras["images/004.png"]
        before = picture(field, camera).clamp(0, 1)
        after = picture(field.with_splats(field.splats.select(~part("red"))), camera).clamp(0, 1)
        squares = []
        for view in ("004", "001"):
            camera = field.about.cameras[f"images/{view}.png"]
            rest = field.with_splats(field.splats.select(~part("red")))
            squares.append(
                (picture(field, camera).clamp(0, 1) - picture(rest, camera).clamp(0, 1)).square().mean()
            )
            psnr = told["PSNR_by_view"]["rgb"][view]
            assert psnr == pytest.approx(-10 * torch.log10(squares[-1]).item(), abs=0.05)
        mean = -10 * torch.log10(torch.stack(squares).mean()).item()
        assert told["rgb_PSNR_dB"] == pytest.approx(mean, abs=0.05)
        assert 1 < told["rgb_pixels_changed_%"] < 60
        sheet = read_image(tmp_path / "s.png")
        assert sheet.shape[1] == 3 * 44 + 4
        one, two, difference = (sheet[24:64, 4 + 44 * index : 44 + 44 * index] for index in range(3))
        expected = (after, before) if swapped else (before, after)
        assert (one - expected[0]).abs().max() < 0.02 and (two - expected[1]).abs().max() < 0.02
        moved = (before - after).abs().amax(-1)
        assert difference.sum(-1)[moved > 0.3].min() > difference.sum(-1)[moved < 0.01].max()

    def test_a_ply_without_views_is_seen_from_the_other_ones(
        self, archive: Path, field: FeatureField, tmp_path: Path, capsys
    ):
        ply = write_ply(field.splats, tmp_path / "balls.ply")
        for pair in ((ply, archive), (archive, ply)):
            told = ff(capsys, "render", "--compare", *pair, "-o", tmp_path / "s.png", "--overwrite")
            assert told["views"] == 1 and told["rgb_largest_difference"] < 0.01

    def test_a_video_of_panels(self, archive: Path, other: Path, tmp_path: Path, capsys):
        told = ff(
            capsys, "render", "--compare", archive, other, "-o", tmp_path / "c.mp4", "--orbit", "3",
            "--panels", "before", "wipe", "--layers", "rgb", "depth",
        )  # fmt: skip
        shown = frames(told["paths"][0])
        assert len(shown) == 3 and shown[0].shape == (136, 92, 3)
        assert "depth_PSNR_dB" in told

    def test_every_layer_has_its_files(self, archive: Path, other: Path, tmp_path: Path, capsys):
        told = ff(
            capsys,
            "render",
            "--compare",
            archive,
            other,
            "-o",
            tmp_path / "p",
            "--layers",
            "feature",
            "alpha",
        )
        names = [
            f"002_{layer}_{kind}.png" for layer in ("feature", "alpha") for kind in ("compared", "slider")
        ]
        assert [Path(path).name for path in told["paths"]] == names
        told = ff(
            capsys,
            "render",
            "--compare",
            archive,
            other,
            "-o",
            tmp_path / "v",
            "--video",
            "webm",
            "--orbit",
            "1",
        )
        assert [Path(path).name for path in told["paths"]] == ["rgb.webm"]

    def test_features_of_different_extractors_are_refused(
        self, archive: Path, field: FeatureField, tmp_path: Path, capsys
    ):
        foreign = replace(field, about=replace(field.about, extractor="another"))
        path = write_archive(foreign, tmp_path / "foreign.safetensors")
        line = failure(
            capsys, "render", "--compare", archive, path, "-o", tmp_path / "o", "--layers", "feature"
        )
        assert "cannot be compared" in line and not (tmp_path / "o").exists()
        ff(capsys, "render", "--compare", archive, path, "-o", tmp_path / "o")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "x"], "neither was given"),
        (["F", "--compare", "F", "F", "-o", "x"], "both were given"),
        (["F", "-o", "x", "--orbit", "2", "--fly", "3"], "--orbit and --fly"),
        (["F", "-o", "x", "--orbit", "2", "--view", "000"], "choose one"),
        (["F", "-o", "x", "--fly", "0"], "at least 1"),
        (["F", "-o", "x.mp4", "--fps", "0"], "--fps 0"),
        (["F", "-o", "x.mp4", "--video", "mp4"], "a video already"),
        (["F", "-o", "x", "--panels", "wipe"], "--panels belong to --compare"),
        (["F", "-o", "x", "--nerfstudio-transform", "t.json"], "pass --path too"),
        (["F", "-o", "x", "--path", "none.json"], "cannot read none.json"),
        (["--compare", "F", "F", "-o", "x", "--layers", "normal"], "'normal'"),
        (["--compare", "F", "F", "-o", "x.png", "--all", "--layers", "rgb", "depth"], "18 rows"),
    ],
)
def test_what_cannot_be_is_told(archive: Path, tmp_path: Path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    words = [str(archive) if word == "F" else word for word in arguments]
    assert message in failure(capsys, "render", *words)
    assert not list(tmp_path.iterdir())
