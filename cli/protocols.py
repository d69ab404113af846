"""Segmentation from a reference view: NVOS, SPIn-NeRF, instance masks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from featurefields.errors import PromptError, SceneError

if TYPE_CHECKING:
    from torch import Tensor

    from featurefields.camera import Camera
    from featurefields.evaluation.protocols import MaskScore, MaskTask, Reference
    from featurefields.field import FeatureField
    from featurefields.raster import FrozenView, Rasterizer
    from featurefields.scene import Scene
    from featurefields.segmentation.prompts import MaskPrompt

DRAWN, CHOSEN, CALIBRATED = "2D render", "3D selection", "3D calibrated"
"""How a mask comes about: the score drawn, then the threshold; Gaussians selected by the engine, then drawn; Gaussians
above the threshold that fits the reference best, then drawn."""
WAYS = (DRAWN, CHOSEN, CALIBRATED)
LEVELS = 65
"""Thresholds from the least to the largest score among which the one that fits the reference is looked for."""


@dataclass(frozen=True)
class MaskRow:
    """One object, from its reference, with one kind of features and one way to a mask: means over judged views."""

    scene: str
    name: str
    features: str
    way: str
    iou: float
    accuracy: float
    views: int


def reference_tasks(protocol: str, folder: Path) -> "dict[Path, Callable[[Scene], list[MaskTask]]]":
    """The scenes of a folder in a benchmark's layout, by their photos, and how to get their tasks.

    A folder that is itself a scene is taken for one with instance masks (protocol "spin-nerf").

    Raises:
        SceneError: the folder is neither.
    """
    from featurefields.evaluation.protocol_folders import read_nvos, read_spin_nerf
    from featurefields.evaluation.protocols import instance_tasks
    from featurefields.evaluation.regions import scene_objects

    from .protocols_labels import mask_tasks, scribble_tasks

    found: dict[Path, Callable[[Scene], list[MaskTask]]] = {}
    by_photos: dict[Path, list] = {}
    if protocol == "nvos":
        for labels in read_nvos(folder):
            by_photos.setdefault(labels.photos, []).append(labels)
        for photos, group in by_photos.items():
            found[photos] = lambda scene, group=group: scribble_tasks(scene, group)
    elif (folder / "labels").is_dir():
        for labels in read_spin_nerf(folder):
            by_photos.setdefault(labels.photos, []).append(labels)
        for photos, group in by_photos.items():
            found[photos] = lambda scene, group=group: mask_tasks(scene, group)
    else:

        def instances(scene: "Scene") -> "list[MaskTask]":
            tasks = list(instance_tasks(scene, scene_objects(scene)))
            if not tasks:
                raise SceneError(
                    f"{folder} has neither a folder labels (SPIn-NeRF) nor photos with instance masks "
                    "(instance_file_path); docs/segmentation_benchmarks.md shows the layouts"
                )
            return tasks

        found[folder] = instances
    return found


def measure_tasks(
    field: "FeatureField",
    scene: "Scene",
    tasks: "Sequence[MaskTask]",
    compared: "Mapping[str, FeatureField]",
    rasterizer: "Rasterizer",
    on_task: Callable[[], object] = lambda: None,
) -> list[MaskRow]:
    """Every task with every kind of features and in every way."""
    from featurefields.evaluation.heldout import mean
    from featurefields.raster import RasterConfig

    rows = []
    for task in tasks:
        views: dict[str, FrozenView] = {}
        for name in (task.reference.view, *(target.view for target in task.targets)):
            camera = field.about.cameras[name].to(field.splats.means)
            views[name] = rasterizer.freeze(field.splats, camera, RasterConfig())
        for features, entry in compared.items():
            scores = task_scores(entry, task, views, rasterizer)
            for way, judged in scores.items():
                iou, accuracy = (
                    mean([getattr(score, number) for score in judged]) for number in ("iou", "accuracy")
                )
                rows.append(MaskRow(scene.name, task.name, features, way, iou, accuracy, len(judged)))
            on_task()
    return rows


def task_scores(
    field: "FeatureField", task: "MaskTask", views: "Mapping[str, FrozenView]", rasterizer: "Rasterizer"
) -> "dict[str, list[MaskScore]]":
    """How well the masks fit in every judged view, by the way they came about.

    Nothing is selected where the reference hits nothing.
    """
    import torch

    from featurefields.evaluation.protocols import judge
    from featurefields.segmentation.select import select

    camera = field.about.cameras[task.reference.view].to(field.splats.means)
    try:
        selection = select(field, reference_prompts(task.reference, camera), rasterizer=rasterizer)
    except PromptError:
        nothing = [judge(torch.zeros_like(target.truth), target) for target in task.targets]
        return dict.fromkeys(WAYS, nothing)
    score = reference_score(field, task.reference, views[task.reference.view])
    pixel_level, gaussian_level = calibrated(score, task, views[task.reference.view])
    columns = torch.stack([selection.mask, score >= gaussian_level], dim=-1)
    scores: dict[str, list[MaskScore]] = {way: [] for way in WAYS}
    for target in task.targets:
        view = views[target.view]
        masks = view.draw(columns.to(field.splats.means)).cpu() > 0.5
        scores[DRAWN].append(judge(drawn_score(score, view) > pixel_level, target))
        scores[CHOSEN].append(judge(masks[..., 0], target))
        scores[CALIBRATED].append(judge(masks[..., 1], target))
    return scores


def reference_prompts(reference: "Reference", camera: "Camera") -> "list[MaskPrompt]":
    """What the engine is asked: a whole mask, or strokes of both signs."""
    from featurefields.segmentation.prompts import MaskPrompt

    if reference.whole:
        return [MaskPrompt(reference.positive, camera)]
    return [
        MaskPrompt(reference.positive, camera, whole=False),
        MaskPrompt(reference.negative, camera, positive=False),
    ]


def reference_score(field: "FeatureField", reference: "Reference", view: "FrozenView") -> "Tensor":
    """Every Gaussian's likeness (n) to the reference: the cosine with the mean feature of its positive pixels."""
    from featurefields.maths.cosine import CosineSpace

    features = field.splats.columns["feature"]
    shown = view.gather(reference.positive.to(view.alpha)[..., None])[:, 0]
    mean = shown @ features / shown.sum().clamp(min=1e-12)
    return CosineSpace.plain(features.shape[1]).cosine(features, mean[None])[:, 0]


def drawn_score(score: "Tensor", view: "FrozenView") -> "Tensor":
    """The mean score (h w) of what covers every pixel; -inf where hardly anything does."""
    import torch

    from featurefields.maths.compositing import over_alpha

    picture = over_alpha(view.draw(score[:, None]), view.alpha)[..., 0]
    return torch.where(view.alpha > 0.5, picture, -torch.inf).cpu()


def calibrated(score: "Tensor", task: "MaskTask", view: "FrozenView") -> tuple[float, float]:
    """The thresholds, of the drawn score and of Gaussians' scores, that fit the reference best.

    A whole mask is fitted by intersection over union; strokes by the mean of the shares of both that are right.
    """
    import torch

    from featurefields.evaluation.protocols import best_threshold

    reference = task.reference
    known = reference.positive | reference.negative
    truth, aim = reference.positive[known], "iou" if reference.whole else "balanced"
    pixel_level = best_threshold(drawn_score(score, view)[known], truth, aim)
    levels = torch.linspace(float(score.min()), float(score.max()), LEVELS).to(score)
    drawn = (view.draw((score[:, None] >= levels).to(score)).cpu() > 0.5)[known]
    hits, misses = ((drawn & side[:, None]).sum(0).double() for side in (truth, ~truth))
    positives, negatives = int(truth.sum()), max(int((~truth).sum()), 1)
    quality = hits / (positives + misses) if aim == "iou" else hits / positives - misses / negatives
    return pixel_level, float(levels[int(quality.argmax())])
