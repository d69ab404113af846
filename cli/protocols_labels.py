"""Labels of public benchmarks, brought into the views of a scene."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from featurefields.errors import SceneError

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from featurefields.evaluation.protocol_folders import MaskLabels, ScribbleLabels
    from featurefields.evaluation.protocols import MaskTask, Target
    from featurefields.scene import Scene, View


def scribble_tasks(scene: "Scene", labels: "Sequence[ScribbleLabels]") -> "list[MaskTask]":
    """NVOS: strokes in one view, the mask of another is judged.

    Raises:
        SceneError: a label fits no photo, or says nothing.
    """
    from featurefields.evaluation.protocol_folders import labelled_view
    from featurefields.evaluation.protocols import MaskTask, Reference

    tasks = []
    for entry in labels:
        view = labelled_view(scene, entry.reference)
        positive, negative = (
            _some_pixels(_strokes(paths, view), paths[0]) for paths in (entry.positive, entry.negative)
        )
        given = Reference(view.name, positive & ~negative, negative)
        tasks.append(MaskTask(entry.name, given, (_target(scene, entry.target, entry.mask),)))
    return tasks


def mask_tasks(scene: "Scene", labels: "Sequence[MaskLabels]") -> "list[MaskTask]":
    """SPIn-NeRF: the first mask is given, all others are judged.

    Raises:
        SceneError: a label fits no photo, or the given one is empty.
    """
    from featurefields.evaluation.protocols import MaskTask, Reference

    tasks = []
    for entry in labels:
        first, *others = sorted(entry.masks)
        given = _target(scene, first, entry.masks[first])
        positive = _some_pixels(given.truth & given.counted, entry.masks[first])
        reference = Reference(given.view, positive, given.counted & ~given.truth)
        targets = tuple(_target(scene, stem, entry.masks[stem]) for stem in others)
        tasks.append(MaskTask(entry.name, reference, targets))
    return tasks


def _target(scene: "Scene", stem: str, path: "Path") -> "Target":
    """A label in the view that it belongs to."""
    from featurefields.evaluation.protocol_folders import labelled_view
    from featurefields.evaluation.protocols import Target, as_seen, counted_pixels, read_label

    view = labelled_view(scene, stem)
    return Target(view.name, as_seen(read_label(path), view, path), counted_pixels(view))


def _strokes(paths: "Sequence[Path]", view: "View") -> "Tensor":
    """The pixels of a view that strokes in any of the files touch."""
    from featurefields.evaluation.protocols import as_seen, read_label

    seen = [as_seen(read_label(path), view, path, thin=True) for path in paths]
    together = seen[0]
    for strokes in seen[1:]:
        together = together | strokes
    return together


def _some_pixels(mask: "Tensor", path: "Path") -> "Tensor":
    """The mask itself. Raises `SceneError` when it is empty."""
    if not bool(mask.any()):
        raise SceneError(f"{path} marks no pixel of its photo; give the benchmark's own file")
    return mask
