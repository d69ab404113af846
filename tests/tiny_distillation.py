"""A few views of the demo scene and random networks, small enough to train in seconds."""

import json
import shutil
from pathlib import Path

import torch

from featurefields.camera import Camera
from featurefields.distillation.pairs import PairSampler, overlaps, surface_points
from featurefields.distillation.reconstruct import DepthReconstructor
from featurefields.distillation.seen import SeenViews, see
from featurefields.distillation.train import Distillation, DistillConfig
from featurefields.raster import choose_rasterizer
from featurefields.readers import read_scene
from featurefields.vision.transformers_backbone import load_backbone

CPU = choose_rasterizer("cpu")


def tiny_scene(folder: Path, demo: Path, count: int = 6) -> Path:
    """The first `count` training views of the demo scene, with depth and masks, in a folder of their own."""
    record = json.loads((demo / "transforms.json").read_text())
    wanted = record["train_filenames"][:count]
    frames = [frame for frame in record["frames"] if frame["file_path"] in wanted]
    keys = (
        "file_path",
        "transform_matrix",
        "depth_file_path",
        "instance_file_path",
        "depth_unit_scale_factor",
    )
    record["frames"] = [{key: frame[key] for key in keys if key in frame} for frame in frames]
    record = {key: value for key, value in record.items() if not key.endswith("_filenames")}
    record["train_filenames"] = wanted
    for frame in record["frames"]:
        for key in ("file_path", "depth_file_path", "instance_file_path"):
            target = folder / frame[key]
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(demo / frame[key], target)
    shutil.copy(demo / record["ply_file_path"], folder / record["ply_file_path"])
    (folder / "transforms.json").write_text(json.dumps(record))
    return folder


def tiny_vit(folder: Path) -> Path:
    """A random vision transformer in transformers' format."""
    import transformers as t

    torch.manual_seed(5)
    config = t.Dinov2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, mlp_ratio=2, patch_size=8, image_size=80
    )
    model = t.Dinov2Model(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return folder


def tiny_mobilenet(folder: Path, **settings: object) -> Path:
    """A random MobileNetV2 whose features are two of its layers."""
    import transformers as t

    torch.manual_seed(6)
    config = t.MobileNetV2Config(
        depth_multiplier=0.1, output_stride=16, feature_layers=[4, 9], feature_stride=8,
        feature_first_px=[7.5, 15.5], **settings,
    )  # fmt: skip
    model = t.MobileNetV2Model(config).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    model.save_pretrained(folder)
    return folder


NETWORKS = {"vit": tiny_vit, "mobilenet": tiny_mobilenet}


def training(scene: Path, network: Path, config: DistillConfig, **choices: object) -> Distillation:
    """A training on the scene's depth maps at half size."""
    views = read_scene(scene, downscale=2).split("train")
    seen = SeenViews([lambda view=view: see(view, "tiny", scale=0.5) for view in views])
    kept = [seen[place] for place in range(len(seen))]
    points = [surface_points(one.camera, one.depth) for one in kept]
    shares = overlaps([one.camera for one in kept], points, [one.depth for one in kept])
    pairs = PairSampler([shares])
    backbone = load_backbone(str(network))
    return Distillation(backbone, seen, pairs, DepthReconstructor(), CPU, config, **choices)  # type: ignore[arg-type]


def facing(size: tuple[int, int] = (48, 32), x: float = 0.0, focal: float = 40.0) -> Camera:
    """A camera at (x, 0, 0) that looks along +z."""
    pose = torch.eye(4)
    pose[0, 3] = x
    centre = torch.tensor([size[0] / 2, size[1] / 2])
    return Camera(pose, torch.tensor([focal, focal]), centre, size)
