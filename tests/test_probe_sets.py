"""Readers of probe data, each on a tiny fake of the same layout."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from featurefields.errors import SceneError, UnknownNameError
from featurefields.readers.probe_sets import IGNORED, ProbeSample, ProbeSet, ProbeSource, read_probe_set
from featurefields.readers.probe_sets.depth_normals import normals_of_depth
from featurefields.readers.probe_sets.halves import held_out_scenes
from featurefields.readers.probe_sets.kitti import benchmark_box


def picture(path: Path, size: tuple[int, int], seed: int = 0, **more: object) -> Path:
    """A colour picture of (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **more)  # type: ignore[arg-type]
    return path


def numbers(path: Path, values: np.ndarray, kind: type = np.uint16) -> Path:
    """A grey picture of whole numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values).astype(kind)).save(path)
    return path


def text(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def only(data: ProbeSet, split: str) -> ProbeSample:
    (sample,) = data.split(split)  # type: ignore[arg-type]
    return sample


def ramp(width: int, height: int, first: int, step: int) -> np.ndarray:
    """Rows of numbers that grow from left to right."""
    return np.tile(first + step * np.arange(width), (height, 1))


class TestNYUv2:
    def extracted(self, root: Path) -> Path:
        for split, name in (("train", "00003"), ("test", "00001")):
            picture(root / "image" / split / f"{name}.png", (64, 48))
            numbers(root / "depth" / split / f"{name}.png", ramp(64, 48, 1000, 10))
            labels = ramp(64, 48, 0, 1) % 40
            labels[0] = 255
            numbers(root / "seg40" / split / f"{name}.png", labels, np.uint8)
            normal = np.zeros((48, 64, 3), np.float32)
            normal[2:] = [0.0, 0.6, -0.8]
            (root / "normal" / split).mkdir(parents=True)
            np.save(root / "normal" / split / f"{name}.npy", normal)
        return root

    def test_pictures_of_the_labelled_file(self, tmp_path: Path) -> None:
        data = read_probe_set([self.extracted(tmp_path)])
        sample = only(data, "test")
        assert data.name == "NYUv2" and len(data.classes) == 40 and data.depth_range == (1e-3, 10.0)
        assert sample.read_truth("depth")[5, :3].tolist() == pytest.approx([1.0, 1.01, 1.02]), "millimetres"
        labels = sample.read_truth("labels")
        assert set(labels[0].tolist()) == {IGNORED} and labels[1, :3].tolist() == [0, 1, 2]
        normal = sample.read_truth("normal")
        assert normal[0].abs().sum() == 0 and normal[9, 9].tolist() == pytest.approx([0.0, 0.6, -0.8])
        # Eigen's crop of 640x480, at a tenth of its size
        assert sample.crop == (4, 4, 60, 47) and int(sample.looked_at().sum()) == 56 * 43

    def test_smaller(self, tmp_path: Path) -> None:
        data = read_probe_set([self.extracted(tmp_path)], source=ProbeSource(longest_side=32))
        sample = only(data, "train")
        assert sample.size == (32, 24) and sample.read_image().shape == (24, 32, 3)
        assert sample.read_truth("depth")[0, :2].tolist() == pytest.approx([1.01, 1.03]), "the nearest pixel"

    def test_lists(self, tmp_path: Path) -> None:
        picture(tmp_path / "kitchen_0028b/rgb_00045.jpg", (64, 48))
        numbers(tmp_path / "kitchen_0028b/sync_depth_00045.png", ramp(64, 48, 500, 0))
        picture(tmp_path / "bathroom/rgb_00045.jpg", (64, 48))
        numbers(tmp_path / "bathroom/sync_depth_00045.png", ramp(64, 48, 700, 0))
        stored = np.tile(np.array([127, 204, 26], np.uint8), (48, 64, 1))
        Image.fromarray(stored).save(tmp_path / "bathroom/norm_00045.png")
        text(
            tmp_path / "nyu_train.txt",
            "/kitchen_0028b/rgb_00045.jpg /kitchen_0028b/sync_depth_00045.png 518.8579",
        )
        text(
            tmp_path / "nyu_test.txt",
            "bathroom/rgb_00045.jpg bathroom/sync_depth_00045.png bathroom/norm_00045.png",
        )
        data = read_probe_set([tmp_path])
        train, test = only(data, "train"), only(data, "test")
        assert train.normal is None and float(train.read_truth("depth")[0, 0]) == pytest.approx(0.5)
        assert test.read_truth("normal")[3, 3].tolist() == pytest.approx([0.0, 0.6, -0.8], abs=0.01)
        assert not data.classes and train.scene != test.scene

    def test_a_listed_file_that_does_not_exist(self, tmp_path: Path) -> None:
        text(tmp_path / "nyu_train.txt", "/kitchen/rgb.jpg /kitchen/depth.png 518.8579")
        with pytest.raises(SceneError, match=r"line 1 names /kitchen/rgb\.jpg"):
            read_probe_set([tmp_path])


class TestKITTI:
    def made(self, root: Path) -> Path:
        drives = {"train": "2011_09_26_drive_0002_sync", "test": "2011_09_28_drive_0001_sync"}
        for split, drive in drives.items():
            shown = f"{drive[:10]}/{drive}/image_02/data/0000000069.png"
            depth = f"{drive}/proj_depth/groundtruth/image_02/0000000069.png"
            picture(root / "input" / shown, (1242, 375))
            numbers(root / "gt_depth" / depth, np.tile(128 * np.arange(375)[:, None], (1, 1242)))
            lost = f"{shown} None 721.5377"
            text(root / f"kitti_eigen_{split}.txt", f"{shown} {depth} 721.5377", lost)
        return root

    def test_crops_and_units(self, tmp_path: Path) -> None:
        data = read_probe_set([self.made(tmp_path)])
        sample = only(data, "test")
        assert data.depth_range == (1e-3, 80.0) and sample.size == (1216, 352)
        assert sample.scene == "2011_09_28_drive_0001_sync"
        depth = sample.read_truth("depth")
        assert depth[:, 7].tolist() == [(23 + row) / 2 for row in range(352)], (
            "the bottom 352 rows, metres = value / 256"
        )
        assert sample.crop == (43, 143, 1172, 349), "Garg et al. on 1216 x 352"
        assert sample.read_image().shape == (352, 1216, 3)
        assert data.notes == ("2 listed pictures have no depth; left out",)

    def test_box(self) -> None:
        assert benchmark_box((1242, 375)) == (13, 23, 1229, 375)
        assert benchmark_box((100, 50)) == (0, 0, 100, 50)


def test_ade20k(tmp_path: Path) -> None:
    for half, name in (("training", "ADE_train_1"), ("validation", "ADE_val_1")):
        picture(tmp_path / "images" / half / f"{name}.jpg", (30, 20))
        numbers(tmp_path / "annotations" / half / f"{name}.png", ramp(30, 20, 0, 10) % 151, np.uint8)
    picture(tmp_path / "images/training/ADE_train_2.jpg", (30, 20))
    text(
        tmp_path / "objectInfo150.txt",
        "Idx\tRatio\tTrain\tVal\tName",
        "1\t0.1\t1\t1\twall",
        "10\t0\t1\t1\tgrass, lawn",
    )
    data = read_probe_set([tmp_path])
    labels = only(data, "test").read_truth("labels")
    assert labels[0, :3].tolist() == [IGNORED, 9, 19], "0 is other, 1 the first class"
    assert len(data.classes) == 150 and data.classes[0] == "wall" and data.classes[9] == "grass"
    assert data.classes[1] == "class 2" and only(data, "train").depth is None
    assert data.notes == ("1 pictures have no annotation; left out",)


class TestScanNet:
    def made(self, root: Path, scenes: Sequence[str] = ("scene0000_00", "scene0001_00")) -> Path:
        for scene in scenes:
            for frame in range(3):
                folder = root / scene
                picture(folder / "color" / f"{frame}.jpg", (128, 96))
                numbers(folder / "depth" / f"{frame}.png", ramp(64, 48, 2000, 1))
                numbers(folder / "label" / f"{frame}.png", ramp(128, 96, 0, 1) % 41, np.uint8)
                pose = np.eye(4)
                pose[0, 3] = 0.1 * frame
                if frame == 2:
                    pose[:] = -np.inf
                text(folder / "pose" / f"{frame}.txt", *(" ".join(map(str, row)) for row in pose))
            k = np.array([[60.0, 0, 31.5, 0], [0, 61, 23.5, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
            rows = (" ".join(map(str, row)) for row in k)
            text(root / scene / "intrinsic" / "intrinsic_depth.txt", *rows)
        return root

    def test_frames(self, tmp_path: Path) -> None:
        text(tmp_path / "scannetv2_train.txt", "scene0000_00")
        text(tmp_path / "scannetv2_val.txt", "scene0001_00")
        data = read_probe_set([self.made(tmp_path)])
        assert [s.name for s in data.split("test")] == ["scene0001_00/0", "scene0001_00/1"], (
            "lost frames are left out"
        )
        sample = data.split("test")[1]
        assert sample.size == (64, 48) and sample.read_image().shape == (48, 64, 3), (
            "the size of the depth map"
        )
        assert float(sample.read_truth("depth")[0, 0]) == pytest.approx(2.0)
        assert sample.read_truth("labels")[0, :3].tolist() == [0, 2, 4], "NYU40 ids of every second pixel"
        assert data.classes[0] == "wall" and sample.camera is not None
        assert sample.camera.position.tolist() == pytest.approx([0.1, 0, 0])
        assert sample.camera.centre_px.tolist() == [32.0, 24.0], "their pixels count from the first centre"
        assert data.pairs is None

    def test_held_out_by_name(self, tmp_path: Path) -> None:
        data = read_probe_set([self.made(tmp_path)], source=ProbeSource(held_out=("scene0000_00",)))
        assert data.scenes("test") == ("scene0000_00",) and data.scenes("train") == ("scene0001_00",)

    def test_prescribed_pairs(self, tmp_path: Path) -> None:
        root = self.made(tmp_path, ("scene0707_00",))
        (root / "scene0707_00" / "intrinsic" / "intrinsic_depth.txt").unlink()
        with pytest.raises(SceneError, match="intrinsic_depth"):
            read_probe_set([root])
        np.savez(root / "intrinsics.npz", scene0707_00=np.array([[70.0, 0, 10], [0, 71, 20], [0, 0, 1]]))
        np.savez(root / "test.npz", name=np.array([[707, 0, 0, 1], [707, 0, 0, 2]]))
        data = read_probe_set([root])
        assert data.pairs == (("scene0707_00/0", "scene0707_00/1"),), "the pair with a lost frame is left out"
        assert not data.scenes("train")
        camera = data.split("test")[0].camera
        assert camera is not None and camera.focal_px.tolist() == [70.0, 71.0]


class TestScanNetPP:
    def made(self, root: Path) -> Path:
        for scene, split in (("0a5c013435", "train"), ("7b6477cb95", "val")):
            text(root / "splits" / f"nvs_sem_{split}.txt", scene)
            dslr = root / "data" / scene / "dslr"
            names = ["DSC00001.JPG", "DSC00002.JPG", "DSC00003.JPG"]
            for name in names[:2]:
                picture(dslr / "resized_undistorted_images" / name, (60, 40), format="JPEG")
                numbers(dslr / "undistorted_render_depth" / f"{name[:-4]}.png", ramp(30, 20, 3000, 0))
                numbers(dslr / "semantics" / f"{name[:-4]}.png", ramp(60, 40, 0, 1) % 4, np.uint8)
            pose = np.eye(4)
            pose[:3, 3] = [1, 2, 3]
            frames = [
                {"file_path": name, "transform_matrix": pose.tolist(), "is_bad": name == "DSC00002.JPG"}
                for name in names
            ]
            document = {
                "fl_x": 50.0, "fl_y": 51.0, "cx": 30.0, "cy": 20.0, "w": 60, "h": 40, "camera_model": "PINHOLE",
                "frames": frames[:1], "test_frames": frames[1:],
            }  # fmt: skip
            text(dslr / "nerfstudio" / "transforms_undistorted.json", json.dumps(document))
        text(root / "metadata" / "semantic_benchmark" / "top100.txt", "wall", "ceiling", "floor")
        return root

    def test_pictures(self, tmp_path: Path) -> None:
        data = read_probe_set([self.made(tmp_path)])
        sample = only(data, "test")
        assert sample.scene == "7b6477cb95" and data.classes == ("wall", "ceiling", "floor")
        assert sample.read_truth("depth").shape == (40, 60) and float(sample.read_truth("depth")[0, 0]) == 3.0
        assert sample.read_truth("labels")[0, :5].tolist() == [IGNORED, 0, 1, 2, IGNORED]
        camera = sample.camera
        assert camera is not None and camera.position.tolist() == [1, 2, 3]
        assert camera.forward.tolist() == pytest.approx([0, 0, -1]), "OpenGL axes in the file"

    def test_smaller_and_held_out(self, tmp_path: Path) -> None:
        source = ProbeSource(longest_side=30, held_out=("0a5c013435",))
        data = read_probe_set([self.made(tmp_path)], source=source)
        sample = only(data, "test")
        assert sample.scene == "0a5c013435" and sample.size == (30, 20)
        assert sample.camera is not None and sample.camera.focal_px.tolist() == [25.0, 25.5]


class TestNAVI:
    def made(self, root: Path) -> Path:
        turn = [math.cos(math.pi / 4), 0.0, math.sin(math.pi / 4), 0.0]
        for collection in ("multiview_00", "wild_set"):
            folder = root / "teapot" / collection
            exif = Image.Exif()
            exif[0x0112] = 6  # stored on its side: to be turned by 90 degrees
            picture(folder / "images" / "000.jpg", (40, 60), exif=exif)
            disparity = np.zeros((40, 60))
            disparity[10:30, 10:50] = round(655_350 / 500)
            numbers(folder / "depth" / "000.png", disparity)
            camera = {"q": turn, "t": [0.0, 0.0, 1000.0], "focal_length": 80.0, "camera_model": "pixel_5"}
            entry = {"object_id": "teapot", "camera": camera, "filename": "000.jpg", "image_size": [40, 60]}
            text(folder / "annotations.json", json.dumps([entry]))
        return root

    def test_photos(self, tmp_path: Path) -> None:
        data = read_probe_set([self.made(tmp_path)])
        sample = only(data, "test")
        assert sample.scene == "teapot/wild_set" and data.scenes("train") == ("teapot/multiview_00",)
        assert sample.size == (60, 40) and sample.read_image().shape == (40, 60, 3), "turned as EXIF says"
        depth = sample.read_truth("depth")
        assert float(depth[20, 30]) == pytest.approx(0.5, abs=1e-3) and float(depth[0, 0]) == 0
        normal = sample.read_truth("normal")
        assert normal[20, 30].tolist() == pytest.approx([0, 0, -1], abs=1e-3), "a wall that faces the camera"
        assert normal[10, 10].abs().sum() == 0, "its border has none"

    def test_cameras(self, tmp_path: Path) -> None:
        """The object's origin lies 1 m in front of the camera, in the middle of the picture."""
        camera = only(read_probe_set([self.made(tmp_path)]), "test").camera
        assert camera is not None
        pixel, depth = camera.project(torch.zeros(1, 3))
        assert pixel[0].tolist() == pytest.approx([30.0, 20.0]) and float(depth) == pytest.approx(1.0)


class TestOurScenes:
    def test_truth(self, demo_scene: Path) -> None:
        data = read_probe_set([demo_scene])
        sample = data.split("test")[0]
        depth, normal, labels = (sample.read_truth(kind) for kind in ("depth", "normal", "labels"))
        known = depth > 0
        assert torch.equal(labels >= 0, known) and torch.equal(normal.norm(dim=-1) > 0.5, known), (
            "all but the sky"
        )
        assert 0.2 < float(known.float().mean()) < 1
        assert "table" in data.classes and "pot-bands-matte" not in data.classes
        assert set(data.regions) <= {"matte", "coated", "gloss", "metal"} and data.regions
        assert sample.camera is not None

    def test_normals_are_those_of_the_camera(self, demo_scene: Path) -> None:
        """They face it, and agree with those of the surface that the depth map describes."""
        sample = read_probe_set([demo_scene]).split("test")[0]
        camera, normal = sample.camera, sample.read_truth("normal")
        assert camera is not None
        drawn = normals_of_depth(sample.read_truth("depth"), camera.focal_px, camera.centre_px)
        both = (drawn.norm(dim=-1) > 0.5) & (normal.norm(dim=-1) > 0.5)
        cosine = (drawn * normal).sum(-1)[both]
        assert float(cosine.median()) > 0.98 and float((cosine > 0.8).float().mean()) > 0.85
        rays = camera.directions() @ camera.world_from_camera[:3, :3]
        assert float((normal * rays).sum(-1).max()) < 0.1

    def test_materials_as_classes(self, demo_scene: Path) -> None:
        data = read_probe_set([demo_scene], source=ProbeSource(labels="material"))
        assert set(data.classes) <= {"matte", "coated", "metal"}

    def test_every_scene_is_on_one_side(self, demo_scene: Path, tmp_path: Path) -> None:
        import shutil

        for name in ("a", "b"):
            shutil.copytree(demo_scene, tmp_path / name)
        folders = [tmp_path / "a", tmp_path / "b"]
        data = read_probe_set(folders)
        assert data.scenes("train") == ("a",) and data.scenes("test") == ("b",)
        turned = read_probe_set(folders[::-1], source=ProbeSource(held_out=("a",), every=5))
        assert turned.scenes("test") == ("a",) and len(turned.split("train")) < len(data.split("train"))
        with pytest.raises(SceneError, match="hold out scene 'c'"):
            read_probe_set(folders, source=ProbeSource(held_out=("c",)))
        with pytest.raises(SceneError, match="two scenes are called a"):
            read_probe_set([folders[0], folders[0]])

    def test_smaller(self, demo_scene: Path) -> None:
        data = read_probe_set([demo_scene], source=ProbeSource(longest_side=40, every=6))
        sample = data.split("test")[0]
        assert max(sample.size) == 40 and sample.read_image().shape[:2] == sample.read_truth("depth").shape


def test_normals_of_a_slanted_plane() -> None:
    focal, centre = torch.tensor([50.0, 60.0]), torch.tensor([20.0, 15.0])
    normal = torch.nn.functional.normalize(torch.tensor([0.3, -0.2, -1.0]), dim=0)
    y, x = torch.meshgrid(torch.arange(30) + 0.5, torch.arange(40) + 0.5, indexing="ij")
    rays = torch.stack([(x - 20) / 50, (y - 15) / 60, torch.ones_like(x)], -1)
    depth = -2.0 / (rays @ normal)
    found = normals_of_depth(depth, focal, centre)
    inner = found[1:-1, 1:-1]
    assert torch.allclose(inner, normal.expand_as(inner), atol=2e-3)
    assert found[0].abs().sum() == 0, "borders are unknown"
    depth[10, 10] = 0
    holes = normals_of_depth(depth, focal, centre)[9:12, 9:12].norm(dim=-1) > 0
    assert holes.tolist() == [[True, False, True], [False, False, False], [True, False, True]]
    depth[:, 20:] += 3
    assert normals_of_depth(depth, focal, centre)[15, 18:23].norm(dim=-1).tolist() == pytest.approx(
        [1, 0, 0, 1, 1]
    )


class TestHeldOut:
    def test_the_last_quarter(self) -> None:
        names = [f"s{k}" for k in range(9)]
        assert held_out_scenes(names[::-1], ()) == {"s7", "s8"}
        assert held_out_scenes(["x", "y"], ()) == {"y"} and held_out_scenes(["x"], ()) == {"x"}
        assert held_out_scenes(names, ("s2",)) == {"s2"}


class TestBadInput:
    def test_what_is_no_data(self, tmp_path: Path) -> None:
        for paths, said in (
            ([], "at least one"),
            ([tmp_path / "gone"], "does not exist"),
            ([tmp_path], "--layout"),
        ):
            with pytest.raises(SceneError, match=said):
                read_probe_set(paths)

    @pytest.mark.parametrize("layout", ["nyuv2", "kitti", "ade20k", "scannet", "scannetpp", "navi", "scenes"])
    def test_an_empty_folder(self, layout: str, tmp_path: Path) -> None:
        with pytest.raises(SceneError):
            read_probe_set([tmp_path], layout=layout)

    def test_an_unknown_layout(self, tmp_path: Path) -> None:
        with pytest.raises(UnknownNameError, match="nyuv2"):
            read_probe_set([tmp_path], layout="nyu")

    def test_numbers(self, demo_scene: Path) -> None:
        with pytest.raises(SceneError, match="every 0-th"):
            read_probe_set([demo_scene], source=ProbeSource(every=0))
