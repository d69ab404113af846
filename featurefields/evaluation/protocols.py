"""Segmentation from a reference view, as public benchmarks state it: what is given, what is judged, and how.

Letters: h w pixels of a camera · H W pixels of a label file · m values.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, nan
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from featurefields.errors import SceneError
from featurefields.evaluation.metrics import iou
from featurefields.evaluation.regions import LEFT_OUT, MIN_PIXELS, SceneObject, instance_ids
from featurefields.images import read_channels
from featurefields.lens import Lens
from featurefields.readers.picture import PhotoFile, same_shape
from featurefields.scene import Scene, View

Aim = Literal["iou", "balanced"]
"""What a threshold is chosen for: intersection over union, or the mean of the shares of both sides that are right."""


@dataclass(frozen=True)
class Reference:
    """What a benchmark gives: a view with pixels that are the object and pixels that are not; others are open."""

    view: str
    positive: Bool[Tensor, "h w"]
    negative: Bool[Tensor, "h w"]

    @property
    def whole(self) -> bool:
        """Whether a complete mask is given, and not scribbles."""
        known = int((self.positive | self.negative).sum())
        return known >= 0.5 * self.positive.numel()


@dataclass(frozen=True)
class Target:
    """A view that is judged: where the object is, and where that is known."""

    view: str
    truth: Bool[Tensor, "h w"]
    counted: Bool[Tensor, "h w"]


@dataclass(frozen=True)
class MaskTask:
    """One object of one scene: its reference view, and the other views it is judged in."""

    name: str
    reference: Reference
    targets: tuple[Target, ...]


@dataclass(frozen=True)
class MaskScore:
    """How well one mask fits, both 0..1: intersection over union (NaN for two empty masks), share of pixels right."""

    iou: float
    accuracy: float


def judge(chosen: Bool[Tensor, "h w"], target: Target) -> MaskScore:
    """Compare a mask with the truth, over the pixels that count."""
    counted = target.counted
    right = (chosen == target.truth) & counted
    total = int(counted.sum())
    accuracy = int(right.sum()) / total if total else nan
    return MaskScore(iou(chosen & counted, target.truth & counted), accuracy)


def best_threshold(score: Float[Tensor, "m"], truth: Bool[Tensor, "m"], aim: Aim = "iou") -> float:
    """The threshold t for which "score > t" fits the truth best, half way between two scores that occur.

    The highest of the best ones. Scores that are not finite are never chosen. Infinite where choosing nothing is best,
    or no score is finite.
    """
    score, truth = score.double(), truth.bool()
    positives, negatives = int(truth.sum()), int((~truth).sum())
    finite = score.isfinite()
    ordered, order = score[finite].sort(descending=True)
    if not len(ordered) or not positives:
        return inf
    hits = truth[finite][order].cumsum(0).double()
    misses = torch.arange(1, len(ordered) + 1, device=score.device) - hits
    if aim == "iou":
        quality = hits / (positives + misses)
    else:
        quality = (hits / positives + 1 - misses / max(negatives, 1)) / 2
    last = torch.cat([ordered[1:] != ordered[:-1], truth.new_ones(1)])
    quality = torch.where(last, quality, -inf)
    place = int(quality.argmax())
    if float(quality[place]) <= (0.0 if aim == "iou" else 0.5):
        return inf
    below = float(ordered[place + 1]) if place + 1 < len(ordered) else float(ordered[place]) - 1.0
    return (float(ordered[place]) + below) / 2


def instance_tasks(scene: Scene, objects: Sequence[SceneObject]) -> tuple[MaskTask, ...]:
    """Every object: its largest mask among the views that were fitted is given, the held-out views are judged.

    A view is judged that shows at least `MIN_PIXELS` of the object. Objects without such a view, or without a pixel in
    a fitted view, are left out.
    """
    fitted, held = scene.split("train"), scene.split("test")
    held_ids = [instance_ids(view) for view in held]
    largest: dict[int, tuple[int, View]] = {}
    for view in fitted:
        ids = instance_ids(view)
        for entry in objects:
            pixels = int((ids == entry.id).sum())
            if pixels > largest.get(entry.id, (0, view))[0]:
                largest[entry.id] = (pixels, view)
    tasks = []
    for entry in objects:
        targets = tuple(
            Target(view.name, ids == entry.id, ids != LEFT_OUT)
            for view, ids in zip(held, held_ids, strict=True)
            if int((ids == entry.id).sum()) >= MIN_PIXELS
        )
        if entry.id in largest and targets:
            view = largest[entry.id][1]
            ids = instance_ids(view)
            given = Reference(view.name, ids == entry.id, (ids != entry.id) & (ids != LEFT_OUT))
            tasks.append(MaskTask(entry.name, given, targets))
    return tuple(tasks)


def read_label(path: Path) -> Bool[Tensor, "H W"]:
    """A mask file: true where a colour is not zero (above half in lossy files); alpha only where it has no colours.

    Raises:
        SceneError: unreadable.
    """
    channels = read_channels(path)
    lossy = path.suffix.lower() in (".jpg", ".jpeg", ".webp")
    colours = channels[..., :-1] if channels.shape[-1] in (2, 4) else channels
    return (colours > (0.5 if lossy else 0.0)).any(-1)


def as_seen(label: Bool[Tensor, "H W"], view: View, path: Path, *, thin: bool = False) -> Bool[Tensor, "h w"]:
    """A label of the photo file as the view's camera sees it: undistorted, and of the camera's size.

    A pixel takes the label of the photo's pixel in which its centre lies; with `thin`, it is true where any true pixel
    of the label lands in it, so that strokes stay whole when pictures shrink.

    Raises:
        SceneError: the label has another shape than the photo; the message names `path`.
    """
    photo, target = _lenses(view)
    size = (label.shape[1], label.shape[0])
    if not same_shape(size, photo.size):
        raise SceneError(
            f"{path} has {size[0]}x{size[1]} pixels, but the photo of {view.name} has "
            f"{photo.size[0]}x{photo.size[1]}, another shape; labels must show the whole photo"
        )
    lens = photo if size == photo.size else photo.resized(size)
    if not thin:
        at = torch.from_numpy(lens.sampling(target)).floor().long()
        return label[at[..., 1].clamp(0, size[1] - 1), at[..., 0].clamp(0, size[0] - 1)]
    y, x = label.nonzero(as_tuple=True)
    landed = target.pixels(lens.rays(np.stack([x.numpy() + 0.5, y.numpy() + 0.5], axis=-1)))
    column, row = torch.from_numpy(np.floor(landed)).long().T
    inside = (column >= 0) & (column < target.size[0]) & (row >= 0) & (row < target.size[1])
    seen = torch.zeros(target.size[1], target.size[0], dtype=torch.bool)
    seen[row[inside], column[inside]] = True
    return seen


def photo_pixel(view: View, x: float, y: float) -> tuple[float, float]:
    """The pixel of the photo file that pixel (x, y) of the view's camera shows: the inverse of `photo_to_camera`."""
    photo, target = _lenses(view)
    found = photo.resized(view.picture.photo_size()).pixels(target.rays(np.array([[x, y]], dtype=np.float64)))
    return float(found[0, 0]), float(found[0, 1])


def counted_pixels(view: View) -> Bool[Tensor, "h w"]:
    """The pixels that the view's own mask, if it has one, does not leave out."""
    mask = view.picture.mask()
    return torch.ones(view.camera.height, view.camera.width, dtype=torch.bool) if mask is None else mask


def _lenses(view: View) -> tuple[Lens, Lens]:
    """The lens of the photo and that of the camera."""
    if isinstance(view.picture, PhotoFile):
        return view.picture.lens, view.picture.target
    camera = view.camera
    lens = Lens("pinhole", camera.size, _pair(camera.focal_px), _pair(camera.centre_px))
    return lens.resized(view.picture.photo_size()), lens


def _pair(values: Float[Tensor, "2"]) -> tuple[float, float]:
    return float(values[0]), float(values[1])
