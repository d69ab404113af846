"""A splat that is there already: its frame is found by the photos, it gets features, its rows stay what they are."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_fields import BLUE, RED, Canvas, edited_document, part, photograph, picture, ring, two_balls
from torch import Tensor

from featurefields.camera import Camera
from featurefields.errors import FeatureFieldsError, FileFormatError, PromptError, SceneError
from featurefields.field import FeatureField, render
from featurefields.files.ply import read_ply, write_ply
from featurefields.fitting.align import AlignConfig, Witness, align, judge, thinned, witnesses_of
from featurefields.fitting.frames import (
    Z_UP_FROM_COLMAP,
    Frame,
    applied_transform,
    axis_turns,
    capture_poses,
    distinct,
    frames_of_file,
    known_frames,
    nerfstudio_frame,
)
from featurefields.fitting.normals import shortest_axis_normals, with_normals
from featurefields.maths.rotations import matrix_from_quat
from featurefields.maths.similarity import Similarity
from featurefields.ply_table import read_vertices
from featurefields.raster import choose_rasterizer
from featurefields.readers import read_scene
from featurefields.scene import Scene, View
from featurefields_cli.console import Console
from featurefields_cli.existing import field_of_splat, splat_file, write_parts
from featurefields_cli.features import FeatureOptions

RASTERIZER = choose_rasterizer("cpu")
QUIET = Console(json=True)


def similarity(
    scale: float, turn_deg: float, axis: tuple[float, ...], shift: tuple[float, ...]
) -> Similarity:
    half = math.radians(turn_deg) / 2
    unit = torch.nn.functional.normalize(torch.tensor(axis, dtype=torch.float64), dim=0)
    quat = torch.cat([torch.tensor([math.cos(half)]).double(), math.sin(half) * unit])
    return Similarity(scale, matrix_from_quat(quat), torch.tensor(shift, dtype=torch.float64))


ODD = similarity(0.37, 71.0, (0.3, -1.0, 0.8), (2.0, -0.5, 1.2))
NOTHING = similarity(1.0, 0.0, (0.0, 0.0, 1.0), (0.0, 0.0, 0.0))
TILT = similarity(1.6, 128.0, (1.0, 0.4, 0.2), (0.7, -0.4, 1.1))
"""From the frame in which `two_balls` stand upright to that of the photos' poses."""
BALLS = two_balls("harmonics").moved(TILT)


def rows_of(frame: Similarity, scale: float = 1.0) -> list[list[float]]:
    """Rows of 4 numbers: the frame's similarity times `scale`."""
    linear = frame.scale * frame.rotation
    return (scale * torch.cat([linear, frame.translation[:, None]], dim=1)).tolist()


def splat_in(
    path: Path, splat_from_capture: Similarity, field: FeatureField = BALLS, degree: int = 3
) -> Path:
    """A field whose world is the photos' frame, as a .ply of some degree in another frame."""
    splats = field.moved(splat_from_capture).splats
    cut = splats.columns["harmonics"][:, : (degree + 1) ** 2]
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = splats.with_columns(harmonics=cut).without_columns("normals")
    return write_ply(plain, path, extra={"mark": torch.arange(len(splats), dtype=torch.int32)})


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two balls, photographed in a frame that is neither upright nor centred."""
    folder = photograph(tmp_path_factory.mktemp("balls") / "scene")
    document = json.loads((folder / "transforms.json").read_text())
    for frame in document["frames"]:
        frame["transform_matrix"] = TILT.pose(torch.tensor(frame["transform_matrix"]).double()).tolist()
    return edited_document(folder, frames=document["frames"])


@pytest.fixture(scope="module")
def scene(photos: Path) -> Scene:
    return read_scene(photos, points=False, holdout=0)


def options(folder: Path) -> FeatureOptions:
    return FeatureOptions(features="classical", feature_dim=8, cache=folder / "cache")


def field_of(path: Path, data: Path, **more: object) -> FeatureField:
    more = {"lifting": options(path.parent), **more}
    return field_of_splat(path, data, rasterizer=RASTERIZER, console=QUIET, **more)  # type: ignore[arg-type]


def found(path: Path, scene: Scene, **more: object) -> Frame:
    frames = known_frames(scene, path)
    witnesses = witnesses_of(scene)
    return align(read_ply(path), scene, frames, witnesses, rasterizer=RASTERIZER, **more).frame  # type: ignore[arg-type]


def assert_same_frame(frame: Frame, truth: Similarity) -> None:
    points = BALLS.splats.means.double()
    apart = (frame.splat_from_capture.points(points) - truth.points(points)).norm(dim=-1)
    assert float(apart.max()) < 1e-4 * truth.scale * float(points.norm(dim=-1).max())


# --- frames ---------------------------------------------------------------------------------------------------


def test_nerfstudios_frame_is_centred_upright_and_of_unit_size() -> None:
    poses = torch.stack([ODD.pose(camera.world_from_camera.double()) for camera in ring(7)])
    frame = nerfstudio_frame(poses)
    moved = torch.stack([frame.pose(pose) for pose in poses])
    up = torch.nn.functional.normalize(-moved[:, :3, 1].mean(0), dim=0)
    assert torch.allclose(moved[:, :3, 3].mean(0), torch.zeros(3).double(), atol=1e-9)
    assert torch.allclose(up, torch.tensor([0.0, 0.0, 1.0]).double(), atol=1e-9)
    assert float(moved[:, :3, 3].abs().max()) == pytest.approx(1.0)
    before = torch.nn.functional.normalize(-poses[:, :3, 1].mean(0), dim=0)
    cosine = (float(torch.trace(frame.rotation)) - 1) / 2
    assert cosine == pytest.approx(float(before[2]), abs=1e-9)  # no larger a turn than it takes
    upside_down = similarity(1.0, 180.0, (1.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    straight = torch.stack([camera.world_from_camera.double() for camera in ring(8)])
    turned = nerfstudio_frame(torch.stack([upside_down.pose(pose) for pose in straight]))
    assert float(torch.linalg.det(turned.rotation)) == pytest.approx(1.0)


def test_axis_turns_are_the_rotations_of_a_cube() -> None:
    turns = axis_turns()
    assert len({name for name, _ in turns}) == 23
    for name, rotation in turns:
        assert torch.equal(rotation @ rotation.T, torch.eye(3).double()) and torch.linalg.det(rotation) == 1
        moved = rotation @ torch.tensor([1.0, 2.0, 3.0]).double()
        spelled = [float("-" in word) * -2 + 1 for word in name.split()]
        assert moved.tolist() == [s * " xyz".index(w[-1]) for s, w in zip(spelled, name.split(), strict=True)]


def test_what_nerfstudio_writes_is_read_both_ways(photos: Path, tmp_path: Path) -> None:
    """Its file holds orientation and centring after applied_transform, and all scales together."""
    applied, unit = similarity(1.0, 90.0, (1.0, 0.0, 0.0), (0.1, 0.2, 0.3)), 2.5
    data = tmp_path / "scene"
    data.mkdir()
    (data / "images").symlink_to(photos / "images")
    (data / "transforms.json").write_text((photos / "transforms.json").read_text())
    edited_document(data, applied_transform=rows_of(applied), applied_scale=unit)
    scene = read_scene(data, points=False, holdout=0)
    oriented = similarity(1.0, 33.0, (0.0, 1.0, 1.0), (0.4, -0.3, 0.2))
    file = tmp_path / "dataparser_transforms.json"
    whole = oriented.after(applied)
    file.write_text(json.dumps({"transform": rows_of(whole), "scale": 0.4 * unit}))
    points = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).double()
    of_photos, of_original = frames_of_file(file, scene)
    assert torch.allclose(of_photos.splat_from_capture.points(points), 0.4 * oriented.points(points))
    assert torch.allclose(of_original.splat_from_capture.points(points), 0.4 * unit * whole.points(points))
    made_from = applied_transform(scene)
    assert made_from is not None
    assert torch.allclose(made_from.points(points), unit * applied.points(points))
    assert applied_transform(replace(scene, folder=tmp_path)) is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "not valid JSON"),
        ('{"scale": 1.0}', "neither 'transform'"),
        ('{"transform": [[1, 0, 0, 0], [0, 1, 0, 0]]}', "not 3 or 4 rows of 4 finite numbers"),
        ('{"transform": [[1, 0, 0, "x"], [0, 1, 0, 0], [0, 0, 1, 0]]}', "not 3 or 4 rows of 4 finite"),
        ('{"transform": [[-1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]}', "mirrors or shears"),
        ('{"transform": [[1, 0.2, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]}', "mirrors or shears"),
        (
            '{"transform": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]], "scale": 0}',
            "scale is 0, not a positive",
        ),
        ('{"capture_from_splat": [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]}', "mirrors or shears"),
    ],
)
def test_files_that_say_nothing_usable_are_refused(
    content: str, words: str, scene: Scene, tmp_path: Path
) -> None:
    (tmp_path / "t.json").write_text(content)
    with pytest.raises(SceneError, match=words) as raised:
        frames_of_file(tmp_path / "t.json", scene)
    assert "t.json" in str(raised.value) and "\n" not in str(raised.value)


def test_the_same_frame_is_tried_once() -> None:
    nearly = replace(ODD, scale=ODD.scale * (1 + 1e-7))
    other = replace(ODD, scale=ODD.scale * 1.001)
    frames = [Frame("a", ODD), Frame("b", nearly), Frame("c", other), Frame("d", NOTHING)]
    assert [frame.name for frame in distinct(frames)] == ["a", "c", "d"]


# --- which frame fits -----------------------------------------------------------------------------------------


def nerfstudio_of(scene: Scene, turn: Tensor | None = None) -> Similarity:
    turned = NOTHING if turn is None else Similarity(1.0, turn, torch.zeros(3).double())
    return nerfstudio_frame(torch.stack([turned.pose(p) for p in capture_poses(scene)])).after(turned)


@pytest.mark.parametrize(
    ("name", "truth"),
    [
        ("the photos' frame", lambda scene: NOTHING),
        ("this program's world frame", lambda scene: scene.world_from_capture),
        ("nerfstudio's frame", nerfstudio_of),
        ("nerfstudio's frame of COLMAP's poses", lambda scene: nerfstudio_of(scene, Z_UP_FROM_COLMAP)),
        (
            "the photos' frame with axes turned to x -y -z",
            lambda scene: similarity(1.0, 180.0, (1.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
        ),
        (
            "this program's world frame with axes turned to -x -y z",
            lambda scene: similarity(1.0, 180.0, (0.0, 0.0, 1.0), (0.0, 0.0, 0.0)).after(
                scene.world_from_capture
            ),
        ),
    ],
)
def test_every_frame_that_programs_write_is_found(name: str, truth, scene: Scene, tmp_path: Path) -> None:
    splat_from_capture = truth(scene)
    frame = found(splat_in(tmp_path / "s.ply", splat_from_capture), scene)
    assert frame.name == name
    assert_same_frame(frame, splat_from_capture)


def test_a_transform_file_is_found_beside_the_splat_or_the_photos(
    photos: Path, scene: Scene, tmp_path: Path
) -> None:
    said = {"transform": rows_of(similarity(1.0, 40.0, (1.0, 2.0, 3.0), (0.5, 0.1, -0.7))), "scale": 0.8}
    path = splat_in(tmp_path / "run" / "s.ply", similarity(0.8, 40.0, (1.0, 2.0, 3.0), (0.4, 0.08, -0.56)))
    refused(path, scene, turned=False)
    (tmp_path / "run" / "dataparser_transforms.json").write_text(json.dumps(said))
    assert found(path, scene).name == "dataparser_transforms.json"
    elsewhere = splat_in(
        tmp_path / "other" / "s.ply", similarity(0.8, 40.0, (1.0, 2.0, 3.0), (0.4, 0.08, -0.56))
    )
    beside_photos = replace(scene, folder=tmp_path / "run")
    assert found(elsewhere, beside_photos).name == "dataparser_transforms.json"


def test_the_frame_before_applied_transform_is_found(photos: Path, scene: Scene, tmp_path: Path) -> None:
    applied = similarity(1.0, 25.0, (1.0, 1.0, 0.0), (0.3, -0.2, 0.6))
    document = json.loads((photos / "transforms.json").read_text()) | {"applied_transform": rows_of(applied)}
    (tmp_path / "transforms.json").write_text(json.dumps(document))
    frame = found(splat_in(tmp_path / "s.ply", applied.inverse), replace(scene, folder=tmp_path))
    assert frame.name == "the frame before applied_transform"
    assert_same_frame(frame, applied.inverse)


def refused(path: Path, scene: Scene, **more: object) -> str:
    with pytest.raises(SceneError) as raised:
        found(path, scene, **more)
    message = str(raised.value)
    assert "\n" not in message and "--transform" in message and "variation explained" in message
    return message


def test_a_frame_that_nobody_knows_is_refused_until_it_is_told(
    photos: Path, scene: Scene, tmp_path: Path
) -> None:
    path = splat_in(tmp_path / "s.ply", ODD)
    message = refused(path, scene)
    assert "the photos' frame, this program's world frame, nerfstudio's frame" in message
    assert "axes turned" in message and str(scene.folder) in message
    told = tmp_path / "frames.json"
    told.write_text(json.dumps({"capture_from_splat": rows_of(ODD.inverse)}))
    field = field_of(path, photos, transform=told)
    assert field.about.notes["splat_frame"] == "frames.json"
    assert torch.allclose(
        field.splats.means, scene.world_from_capture.points(BALLS.splats.means.double()).float(), atol=1e-4
    )
    told.write_text(json.dumps({"capture_from_splat": rows_of(NOTHING)}))
    with pytest.raises(SceneError, match=r"in no frame that was tried \(frames.json\)"):
        field_of(path, photos, transform=told)


def test_a_splat_of_something_else_is_refused(scene: Scene, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(2)
    shuffled = torch.randperm(len(BALLS), generator=generator)
    wrong = BALLS.splats.with_columns(harmonics=BALLS.splats.columns["harmonics"][shuffled])
    refused(splat_in(tmp_path / "shuffled.ply", NOTHING, BALLS.with_splats(wrong)), scene, turned=False)
    far = similarity(1.0, 0.0, (0.0, 0.0, 1.0), (90.0, 0.0, 0.0))
    assert "0% of their pixels covered" in refused(splat_in(tmp_path / "far.ply", far), scene, turned=False)


def test_photos_may_be_exposed_differently_but_not_be_negatives(
    photos: Path, scene: Scene, tmp_path: Path
) -> None:
    path = splat_in(tmp_path / "s.ply", NOTHING)
    random = np.random.default_rng(3)
    for folder, sign in (("exposed", 1.0), ("negatives", -1.0)):
        data = tmp_path / folder
        (data / "images").mkdir(parents=True)
        (data / "transforms.json").write_text((photos / "transforms.json").read_text())
        for file in sorted((photos / "images").iterdir()):
            pixels = np.asarray(Image.open(file), dtype=np.float64)
            gain, offset = random.uniform(0.3, 0.7, 3), random.uniform(0, 50, 3)
            changed = gain * (pixels if sign > 0 else 255 - pixels) + offset
            Image.fromarray(changed.round().astype(np.uint8)).save(data / "images" / file.name)
        other = read_scene(data, points=False, holdout=0)
        if sign > 0:
            assert found(path, other).name == "the photos' frame"
        else:
            refused(path, other, turned=False)


def test_agreement_falls_as_the_frame_gets_worse_and_the_pose_is_what_counts(
    scene: Scene, tmp_path: Path
) -> None:
    splat, witnesses = read_ply(splat_in(tmp_path / "s.ply", NOTHING)), witnesses_of(scene)

    def agreement(turn_deg: float):
        frame = Frame(
            "turned",
            TILT.after(similarity(1.0, turn_deg, (0.0, 0.0, 1.0), (0.0, 0.0, 0.0))).after(TILT.inverse),
        )
        return judge(splat, frame, scene, witnesses, rasterizer=RASTERIZER)

    right, near, wrong = agreement(0.0), agreement(6.0), agreement(60.0)
    assert right.own > 0.97 and right.own > near.own > wrong.own
    assert right.fits(AlignConfig()) and not wrong.fits(AlignConfig())
    assert right.seen == 1.0 and 0.3 < right.coverage < 1.0
    assert right.other < 0.5  # the same pictures do not explain photos from elsewhere


def test_pixels_that_a_mask_leaves_out_do_not_count() -> None:
    generator = torch.Generator().manual_seed(1)
    views = []
    for name, camera in BALLS.about.cameras.items():
        hidden = torch.zeros(camera.height, camera.width, dtype=torch.bool)
        hidden[:, : camera.width // 2] = True
        noise = torch.rand(camera.height, camera.width, 3, generator=generator)
        colours = torch.where(hidden[..., None], noise, picture(BALLS, camera))
        views.append((name, camera, colours, ~hidden))
    agreements = {}
    for masked in (True, False):
        seen = tuple(View(n, c, "train", Canvas(p, m if masked else None)) for n, c, p, m in views)
        scene = Scene("balls", Path("nowhere"), seen)
        frame = Frame("the photos' frame", NOTHING)
        agreements[masked] = judge(BALLS, frame, scene, witnesses_of(scene), rasterizer=RASTERIZER).own
    assert agreements[True] > 0.95 and agreements[False] < 0.85


def test_witnesses_are_averaged_and_spread() -> None:
    camera = replace(ring(1)[0], size=(40, 20))
    colours = torch.rand(20, 40, 3, generator=torch.Generator().manual_seed(4))
    mask = torch.ones(20, 40, dtype=torch.bool)
    mask[0, 0] = False
    witness = Witness.of(View("a", camera, "train", Canvas(colours, mask)), 10)
    assert witness.camera.size == (10, 5) and torch.allclose(witness.camera.focal_px, camera.focal_px / 4)
    assert torch.allclose(witness.colours[1, 2], colours[4:8, 8:12].mean((0, 1)), atol=1e-6)
    assert not witness.counted[0, 0] and int(witness.counted.sum()) == 49
    views = tuple(
        View(str(n), ring(20)[n], "train", Canvas(torch.full((40, 40, 3), n / 20))) for n in range(20)
    )
    chosen = witnesses_of(Scene("s", Path("s"), views), AlignConfig(views=5))
    assert [round(float(w.colours.mean()) * 20) for w in chosen] == [0, 4, 8, 12, 16]


def test_thinned_splats_cover_about_as_much(scene: Scene) -> None:
    camera = BALLS.about.cameras["images/000.png"]
    dense = thin_floor()
    fewer = thinned(dense, 1000)
    assert 500 < len(fewer) <= 1000
    one, other = (render(f, camera, rasterizer=RASTERIZER, heads=("rgb",)).alpha for f in (dense, fewer))
    assert float((one - other).abs().mean()) < 0.04
    bare = dense.with_splats(dense.splats.select(torch.arange(0, len(dense), 4)))
    kept = render(bare, camera, rasterizer=RASTERIZER, heads=("rgb",)).alpha
    assert float((one - kept).abs().mean()) > 0.08  # without growing they do not
    whole = thinned(dense, 10**6)
    assert torch.equal(whole.splats.log_scales, dense.splats.log_scales)
    assert whole.heads["rgb"].config() == {"degree": 0}


def thin_floor() -> FeatureField:
    """4000 flat Gaussians scattered over a square: barely enough to cover it."""
    generator = torch.Generator().manual_seed(8)
    means = 3.6 * torch.rand(4000, 3, generator=generator) - 1.8
    means[:, 2] = 0
    upright = two_balls("harmonics")
    one = upright.splats.select(torch.full((4000,), 200))
    return upright.with_splats(replace(one, means=means, log_scales=one.log_scales - 1.2)).moved(TILT)


# --- the whole way --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_a_splat_of_any_degree_becomes_a_field_in_the_photos_world(
    degree: int, photos: Path, scene: Scene, tmp_path: Path
) -> None:
    path = splat_in(tmp_path / "s.ply", nerfstudio_of(scene), degree=degree)
    field = field_of(path, photos)
    assert set(field.heads) == {"rgb", "feature"} and field.heads["rgb"].config() == {"degree": degree}
    assert set(field.about.cameras) == {view.name for view in scene.views}
    expected = BALLS.moved(scene.world_from_capture).splats
    assert torch.allclose(field.splats.means, expected.means, atol=1e-4)
    assert torch.allclose(field.splats.scales, expected.scales, rtol=1e-3)
    camera = field.about.cameras["images/000.png"]
    shown = Image.open(photos / "images" / "000.png")
    drawn = render(field, camera, rasterizer=RASTERIZER, heads=("rgb",))
    truth = torch.from_numpy(np.asarray(shown, dtype=np.float32)) / 255
    apart = (drawn["rgb"]["total"] - truth).abs()[drawn.alpha > 0.98]
    assert float(apart.mean()) < (0.005 if degree == 3 else 0.06)
    notes = field.about.notes
    assert notes["splat_frame"] == "nerfstudio's frame" and float(str(notes["splat_agreement"])) > 0.9
    assert notes["splat"] == str(path) and notes["solver"] == "uplift" and notes["test_views"] == []
    columns = field.splats.columns
    assert torch.equal(columns["ply.mark"], torch.arange(len(BALLS), dtype=torch.int32))
    assert bool(columns["feature"].isfinite().all()) and field.about.extractor


def test_features_tell_the_parts_apart(photos: Path, tmp_path: Path) -> None:
    field = field_of(splat_in(tmp_path / "s.ply", NOTHING), photos)
    space, features = field.about.cosine_space(8), field.splats.columns["feature"]
    red, blue = (features[part(name)].mean(0, keepdim=True) for name in ("red", "blue"))
    nearer_red = (space.cosine(features, red) > space.cosine(features, blue)).squeeze(-1)
    assert float(nearer_red[part("red")].float().mean()) > 0.85
    assert float(nearer_red[part("blue")].float().mean()) < 0.15
    assert RED != BLUE


def test_the_same_inputs_give_the_same_field(photos: Path, tmp_path: Path) -> None:
    path = splat_in(tmp_path / "s.ply", NOTHING)
    one, other = (field_of(path, photos).splats.tensors() for _ in range(2))  # the second from the cache
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_photos_that_their_source_holds_out_are_not_lifted(photos: Path, tmp_path: Path) -> None:
    data = tmp_path / "scene"
    data.mkdir()
    (data / "images").symlink_to(photos / "images")
    (data / "transforms.json").write_text((photos / "transforms.json").read_text())
    edited_document(data, test_filenames=["images/000.png"])
    field = field_of(splat_in(tmp_path / "s.ply", NOTHING), data)
    assert field.about.notes["test_views"] == ["images/000.png"] and len(field.about.cameras) == 9


def test_what_cannot_work_is_refused_before_any_work(photos: Path, tmp_path: Path) -> None:
    path = splat_in(tmp_path / "s.ply", NOTHING)
    cloud = photos / "points.ply"
    wrong: list[tuple[type[FeatureFieldsError], str, dict]] = [
        (FileFormatError, "does not exist", {"path": tmp_path / "none.ply"}),
        (FileFormatError, "plain point cloud", {"path": cloud}),
        (FileFormatError, "does not exist", {"data": tmp_path / "none"}),
        (PromptError, "--features none", {"lifting": FeatureOptions(features="none")}),
        (SceneError, "cannot be read", {"transform": tmp_path / "none.json"}),
    ]
    for kind, words, change in wrong:
        arguments = {"path": path, "data": photos, **change}
        with pytest.raises(kind, match=words):
            field_of(**arguments)


def test_rows_of_the_parts_are_the_files_own(photos: Path, scene: Scene, tmp_path: Path) -> None:
    path = splat_in(tmp_path / "s.ply", scene.world_from_capture)
    vertices = read_vertices(path)
    spoiled = path.read_bytes()
    width = (len(spoiled) - spoiled.index(b"end_header\n") - 11) // len(BALLS)
    start = spoiled.index(b"end_header\n") + 11
    nan = np.float32(np.nan).tobytes()
    path.write_bytes(spoiled[: start + 7 * width] + nan + spoiled[start + 7 * width + 4 :])
    field = field_of(path, photos)
    assert len(field) == len(BALLS) - 1 and field.about.notes["left_out"] == 1
    source = splat_file(field)
    assert source == path
    chosen = part("red")[torch.arange(len(BALLS)) != 7]
    parts = {"object": chosen, "rest": ~chosen, "nothing": torch.zeros_like(chosen)}
    written = write_parts(source, parts, tmp_path / "out", QUIET, overwrite=False)
    assert [file.name for file in written] == ["object.ply", "rest.ply"]
    marks = [read_vertices(file)["mark"].tolist() for file in written]
    red = part("red").nonzero().squeeze(-1).tolist()
    assert marks[0] == [row for row in red if row != 7]
    assert marks[1] == [row for row in range(len(BALLS)) if row not in red]
    read = read_vertices(written[0])
    assert list(read) == list(vertices)
    assert all(np.array_equal(read[name], vertices[name][marks[0]]) for name in read)


def test_a_splat_file_that_has_changed_is_not_taken_for_the_same(photos: Path, tmp_path: Path) -> None:
    path = splat_in(tmp_path / "s.ply", NOTHING)
    field = field_of(path, photos)
    assert splat_file(field) == path
    content = path.read_bytes()
    splats = read_ply(path).splats
    write_ply(replace(splats, means=splats.means.flip(0)), path, overwrite=True)
    assert splat_file(field) is None
    path.write_bytes(content[: len(content) // 2])
    assert splat_file(field) is None
    path.unlink()
    assert splat_file(field) is None
    assert splat_file(BALLS) is None


def test_the_shortest_axis_faces_the_cameras() -> None:
    balls = two_balls("harmonics")
    bare = balls.with_splats(balls.splats.without_columns("normals"))
    cameras: list[Camera] = ring(9)
    normals = shortest_axis_normals(bare.splats, torch.stack([camera.position for camera in cameras]))
    flat = part("floor")
    assert torch.allclose(normals[flat], torch.tensor([0.0, 0.0, 1.0]).expand(int(flat.sum()), 3), atol=1e-5)
    assert torch.allclose(normals.norm(dim=-1), torch.ones(len(bare)), atol=1e-5)
    along = (normals * balls.splats.columns["normals"]).sum(-1).abs()
    assert torch.allclose(along, torch.ones(len(bare)), atol=1e-4)
    assert torch.equal(with_normals(bare, cameras).splats.columns["normals"], normals)
    assert with_normals(balls, cameras) is balls
