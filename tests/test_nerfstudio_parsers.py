"""Every layout of photos that nerfstudio's parsers read, as our scenes: where the cameras stand and what they see."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_captures import LAYOUTS, frames_of, pose
from tiny_fields import FOCAL, SIZE, photograph
from tiny_nerfstudio import METHOD, NAME, PYTHON, needs_nerfstudio, ns, run_code, succeeded

from featurefields.adapters.nerfstudio.capture import similarity_between
from featurefields.files.archive import read_archive
from featurefields.images import read_channels
from featurefields.maths.similarity import Similarity

pytestmark = [pytest.mark.slow, needs_nerfstudio]
Told = dict[str, Any]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photograph(tmp_path_factory.mktemp("photographed") / "tiny", views=12)


@pytest.fixture(scope="module")
def folders(scene: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What `--data` is, by layout."""
    made = tmp_path_factory.mktemp("captures")
    return {
        name: layout.write(scene, made / f"c{number}")
        for number, (name, (_, layout)) in enumerate(LAYOUTS.items())
    }


@pytest.fixture(scope="module")
def told(folders: dict[str, Path]) -> dict[str, Told]:
    """What the plugin makes of every layout, in one process of nerfstudio's Python."""
    asked = {
        name: [parser, str(folders[name]), layout.settings] for name, (parser, layout) in LAYOUTS.items()
    }
    asked[ONE_HELD_OUT] = ["instant-ngp-data", str(folders["instant-ngp"]), {"eval_mode": "fraction"}]
    done = succeeded(run_code([str(PYTHON), "-c", READ, json.dumps(asked)]))
    return json.loads(done.stdout.splitlines()[-1])


ONE_HELD_OUT = "one photo held out"
"""A case of which nerfstudio's own parser makes no pose."""


@pytest.fixture
def found(told: dict[str, Told], name: str) -> Told:
    assert "error" not in told[name], told[name]["error"]
    return told[name]


@pytest.mark.parametrize("name", LAYOUTS)
class TestLayouts:
    def test_cameras_stand_where_they_stood(self, name: str, found: Told, scene: Path):
        """Up to one similarity for all."""
        truth = [pose(frame, opencv=True) for frame in frames_of(scene)]
        seen = sorted(found["views"], key=lambda view: (len(view["photo"]), view["photo"]))
        assert len(seen) == len(truth) - LAYOUTS[name][1].gone
        there = torch.from_numpy(np.stack(truth[len(truth) - len(seen) :]))
        here = torch.tensor([view["pose"] for view in seen], dtype=torch.float64)
        similarity = similarity_between(there, here)
        assert similarity is not None, "poses are turned or moved apart"

    def test_lenses_and_photos_are_what_they_were(self, name: str, found: Told, scene: Path):
        layout, names = LAYOUTS[name][1], [frame["file_path"] for frame in frames_of(scene)]
        seen = sorted(found["views"], key=lambda view: (len(view["photo"]), view["photo"]))
        for view, photo in zip(seen, names[len(names) - len(seen) :], strict=True):
            assert view["masked"] == layout.masked
            if layout.bent:
                assert view["size"] != list(SIZE) or view["focal"] != [FOCAL, FOCAL]
                continue
            assert view["size"] == list(SIZE)
            assert np.allclose(view["focal"], FOCAL, rtol=1e-5) and np.allclose(view["centre"], SIZE[0] / 2)
            mean = read_channels(scene / photo)[..., :3].mean(dim=(0, 1))
            assert np.allclose(view["mean"], mean.numpy(), atol=0.01)

    def test_photos_that_do_not_exist_are_counted(self, name: str, found: Told):
        assert len(found["missing"]) == LAYOUTS[name][1].missing

    def test_both_splits_have_photos(self, name: str, found: Told):
        splits = [view["split"] for view in found["views"]]
        held_out = splits.count("test")
        assert held_out == 0 if name in ("sdfstudio", "sitcoms3d") else 0 < held_out <= len(splits) / 2


def test_what_is_no_pose_is_refused(told: dict[str, Told]):
    assert "gives a pose of shape (4, 3) instead of (3, 4)" in told[ONE_HELD_OUT]["error"]


@pytest.mark.parametrize("name", ["nerfstudio", "colmap", "colmap bent", "colmap fisheye"])
def test_seed_points_and_the_frame_of_the_photos_are_kept(name: str, found: Told, scene: Path):
    """What `ff` commands go on with: the similarity between the files' poses and the field's world."""
    rotation, translation = (
        torch.tensor(found[name], dtype=torch.float64) for name in ("rotation", "translation")
    )
    frame = Similarity(found["scale"], rotation, translation)
    truth = {Path(one["file_path"]).name: pose(one, opencv=True) for one in frames_of(scene)}
    for view in found["views"]:
        expected = frame.pose(torch.from_numpy(truth[Path(view["photo"]).name]))
        assert torch.allclose(expected, torch.tensor(view["pose"], dtype=torch.float64), atol=2e-3)
    assert found["points"] == (40 if "colmap" in name else 264)


@pytest.mark.parametrize(
    "name, behind",
    [
        ("colmap bent", "colmap"),
        ("scannet++", "scannetpp-data"),
        ("sdfstudio", "sdfstudio-data"),
    ],
)
def test_training_runs_on_them(name: str, behind: str, folders: dict[str, Path], tmp_path: Path):
    done = ns(
        "ns-train", METHOD, "--max-num-iterations 3 --vis tensorboard --timestamp now --experiment-name n",
        "--output-dir", tmp_path, "--data", folders[name], behind,
    )  # fmt: skip
    succeeded(done)
    run = tmp_path / "n" / NAME / "now"
    field = read_archive(run)
    assert set(field.heads) == {"rgb", "feature"} and len(field.about.cameras) >= 8
    measured = ns("ns-eval", "--load-config", run / "config.yml", "--output-path", tmp_path / "eval.json")
    if name == "sdfstudio":
        assert measured.returncode != 0 and "no photo is held out" in measured.stderr
    else:
        succeeded(measured)
        assert json.loads((tmp_path / "eval.json").read_text())["results"]["psnr"] > 5


READ = """
import json, sys, traceback
from pathlib import Path
from nerfstudio.configs.dataparser_configs import all_dataparsers
from featurefields.adapters.nerfstudio.datamanager import PhotoDatamanagerConfig

def read(parser, data, settings):
    chosen = type(all_dataparsers[parser])(data=Path(data), **settings)
    photos = PhotoDatamanagerConfig(dataparser=chosen, data=Path(data)).setup(device="cpu", test_mode="val").photos
    frame, points = photos.scene.world_from_capture, photos.scene.points
    views = [
        dict(
            photo=str(view.picture.path), split=view.split, masked=view.picture.mask() is not None,
            pose=view.camera.world_from_camera.tolist(), focal=view.camera.focal_px.tolist(),
            centre=view.camera.centre_px.tolist(), size=list(view.camera.size),
            mean=view.picture.image().mean(dim=(0, 1)).tolist(),
        )
        for view in photos.scene.views
    ]
    return dict(
        views=views, missing=photos.scene.missing, points=0 if points is None else len(points.positions),
        scale=float(frame.scale), rotation=frame.rotation.tolist(), translation=frame.translation.tolist(),
    )

found = {}
for name, asked in json.loads(sys.argv[1]).items():
    try:
        found[name] = read(*asked)
    except Exception:
        found[name] = dict(error=traceback.format_exc())
print(json.dumps(found))
"""
