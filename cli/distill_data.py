"""What `ff distill` composes of scenes, geometry and networks."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from featurefields.errors import FittingError, SceneError

from .console import Console
from .inputs import existing

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from featurefields.distillation.pairs import PairSampler
    from featurefields.distillation.reconstruct import Reconstructor
    from featurefields.distillation.seen import MaskSource, Seen, SeenViews
    from featurefields.distillation.student import Backbone
    from featurefields.field import FeatureField
    from featurefields.raster import Rasterizer
    from featurefields.scene import Scene

Surfaces = Callable[["Scene", "Seen"], "Tensor | None"]
"""Depth map of a view of a scene, where anything is known."""


def trainable(name: str, device: "torch.device") -> "Backbone":
    """The backbone called `name`.

    Raises:
        FittingError: it is an extractor that cannot be trained.
        UnknownNameError, UnavailableError, FileFormatError: see `choose_extractor`.
    """
    from featurefields.distillation.student import Backbone
    from featurefields.vision import choose_extractor

    found = choose_extractor(name, device=device)
    if not isinstance(found, Backbone):
        raise FittingError(
            f"features '{name}' cannot be trained; give a network of the transformers library: transformers:FOLDER"
        )
    return found


def scenes_in(folders: Sequence[Path], downscale: float, console: Console) -> list["Scene"]:
    """The scene in every folder, or in every folder inside it.

    Raises:
        SceneError: no scene in one of them.
    """
    from featurefields.readers import read_scene

    paths: list[Path] = []
    for folder in folders:
        existing(folder)
        inner = [] if _is_scene(folder) else [path for path in sorted(folder.iterdir()) if _is_scene(path)]
        paths += inner or [folder]
    scenes = []
    with console.progress("reading scenes", len(paths)) as advance:
        for path in paths:
            scenes.append(read_scene(path, downscale=downscale))
            advance(1)
    missing = sum(len(scene.missing) for scene in scenes)
    if missing:
        console.note(f"{missing} listed photos are missing")
    return scenes


def _is_scene(path: Path) -> bool:
    from featurefields.readers.detect import detect_kind

    try:
        detect_kind(path)
    except SceneError:
        return False
    return True


def seen_views(scenes: Sequence["Scene"], masks: "MaskSource", scale: float, budget: int) -> "SeenViews":
    """The training views of all scenes, one after the other.

    Raises:
        SceneError: masks are to be given, and the first photo of every scene has none.
    """
    from featurefields.distillation.seen import SeenViews, see

    if masks == "given" and all(
        scene.split("train")[0].picture.layer("instance") is None for scene in scenes if scene.split("train")
    ):
        raise SceneError(
            "no photo has an instance mask (instance_file_path); use --masks automatic, or --masks none"
        )

    readings = [
        partial(see, view, scene.name, scale=scale, masks=masks)
        for scene in scenes
        for view in scene.split("train")
    ]
    return SeenViews(readings, budget_bytes=budget)


def pairs_of(
    scenes: Sequence["Scene"],
    views: "SeenViews",
    surfaces: Surfaces,
    contexts: int,
    overlap: tuple[float, float],
    console: Console,
) -> "PairSampler":
    """Who sees what others see, scene by scene."""
    from featurefields.distillation.pairs import PairConfig, PairSampler, overlaps, surface_points

    shares, start = [], 0
    with console.progress("comparing views", len(views)) as advance:
        for scene in scenes:
            count = len(scene.split("train"))
            cameras, points, depths = [], [], []
            for place in range(start, start + count):
                seen = views[place]
                depth = surfaces(scene, seen)
                cameras.append(seen.camera)
                depths.append(depth)
                points.append(_sparse(scene, seen) if depth is None else surface_points(seen.camera, depth))
                advance(1)
            shares.append(overlaps(cameras, points, depths))
            start += count
    config = PairConfig(contexts=contexts, least=overlap[0], most=overlap[1])
    sampler = PairSampler(shares, config)
    left_out = len(views) - len(sampler.targets)
    if left_out:
        console.note(
            f"{left_out} of {len(views)} views have too few others that overlap; they are no targets"
        )
    return sampler


def _sparse(scene: "Scene", seen: "Seen") -> "Tensor":
    """The scene's sparse points in a view's picture. Raises `FittingError` when there are none."""
    if scene.points is None:
        raise FittingError(
            f"scene '{scene.name}' has neither depth maps nor points, so nobody knows which views overlap; give one of "
            "them, or --geometry fitted:PATTERN"
        )
    pixels, depth = seen.camera.project(scene.points.positions)
    width, height = seen.camera.size
    inside = (depth > 0) & (pixels >= 0).all(-1) & (pixels[:, 0] < width) & (pixels[:, 1] < height)
    return scene.points.positions[inside]


def reconstructor(
    geometry: str, scenes: Sequence["Scene"], rasterizer: "Rasterizer", device: "torch.device"
) -> tuple["Reconstructor", Surfaces]:
    """How the Gaussians behind context views are found, and what is known of single views' depths.

    Raises:
        FittingError: the geometry is not there for a scene.
        UnknownNameError: there is no such source.
    """
    from featurefields.distillation.reconstruct import DepthReconstructor

    source, _, pattern = geometry.partition(":")
    if source == "data":
        return DepthReconstructor(), lambda scene, seen: seen.depth
    if source == "fitted":
        return _fitted(pattern, scenes, rasterizer, device)
    from .distill_geometry import provided_depths

    depths = provided_depths(geometry, scenes, rasterizer, device)
    return DepthReconstructor(depths), lambda scene, seen: seen.depth


def _fitted(
    pattern: str, scenes: Sequence["Scene"], rasterizer: "Rasterizer", device: "torch.device"
) -> tuple["Reconstructor", Surfaces]:
    """Fields that are there: the Gaussians of the contexts' scene, and depths drawn from them."""
    from featurefields.distillation.reconstruct import SplatReconstructor
    from featurefields.field import FeatureField, render

    bare = {scene.name: FeatureField(_field_of(pattern, scene).splats.to(device), {}) for scene in scenes}

    def depth(scene: "Scene", seen: "Seen") -> "Tensor":
        drawn = render(bare[scene.name], seen.camera.to(device), rasterizer=rasterizer)
        return drawn.depth.where(drawn.alpha > 0.5, drawn.depth.new_zeros(())).cpu()

    return SplatReconstructor(lambda contexts: bare[contexts[0].scene].splats, rasterizer), depth


def _field_of(pattern: str, scene: "Scene") -> "FeatureField":
    """The field fitted to a scene, in the frame of the scene's cameras. Raises `FittingError`, `FileFormatError`."""
    from .held_out import in_frame
    from .inputs import load_field

    if not pattern:
        raise FittingError("--geometry fitted needs to know where the fields are: fitted:fits/{scene}")
    return in_frame(load_field(Path(pattern.replace("{scene}", scene.name))), scene.world_from_capture)
