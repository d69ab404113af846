"""The protocol "lerf-ovs": phrases are looked for, masks and places are judged."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from featurefields.errors import SceneError, UnavailableError

from .protocols import CHOSEN, DRAWN

if TYPE_CHECKING:
    from torch import Tensor

    from featurefields.evaluation.lerf_labels import LabelledFrame, PhraseLabel
    from featurefields.field import FeatureField
    from featurefields.maths.relevancy import TextQuery
    from featurefields.raster import FrozenView, Rasterizer
    from featurefields.scene import Scene, View
    from featurefields.segmentation.prompts import TextTower
    from featurefields.vision.interface import Extractor


@dataclass(frozen=True)
class PhraseRow:
    """One phrase in one frame, with one kind of features and one way to a mask; `localised` is 0 or 1."""

    scene: str
    name: str
    view: str
    features: str
    way: str
    iou: float
    accuracy: float
    localised: float


def tower_of(extractor: "Extractor | None", asked: str) -> "TextTower":
    """The extractor, when it understands words.

    Raises:
        UnavailableError: it does not, or there is none.
    """
    from featurefields.segmentation.prompts import TextTower

    if extractor is None:
        raise UnavailableError(
            "the protocol lerf-ovs looks for phrases, but --features names no extractor; name one with a text tower"
        )
    if not isinstance(extractor, TextTower):
        raise UnavailableError(
            f"the protocol lerf-ovs looks for phrases, but the extractor '{asked}' has no text tower (embed_text); "
            "choose one that has, such as a CLIP"
        )
    return extractor


def measure_phrases(
    field: "FeatureField",
    scene: "Scene",
    frames: "tuple[LabelledFrame, ...]",
    compared: "Mapping[str, FeatureField]",
    tower: "TextTower",
    rasterizer: "Rasterizer",
    on_phrase: Callable[[], object] = lambda: None,
) -> list[PhraseRow]:
    """Every phrase of every frame with every kind of features, in both ways.

    Raises:
        SceneError: a label fits no photo, or features are stored without what leads back to the extractor's.
    """
    from featurefields.evaluation.protocol_folders import labelled_view
    from featurefields.maths.relevancy import CANONICAL, TextQuery
    from featurefields.raster import RasterConfig

    meaningless = tower.embed_text(CANONICAL)
    queries: dict[tuple[str, str], TextQuery] = {}
    rows = []
    for frame in frames:
        view = labelled_view(scene, frame.photo)
        camera = view.camera.to(field.splats.means)
        frozen = rasterizer.freeze(field.splats, camera, RasterConfig())
        for label in frame.labels:
            for features, entry in compared.items():
                if (features, label.phrase) not in queries:
                    queries[features, label.phrase] = _query(entry, label.phrase, meaningless, tower)
                query = queries[features, label.phrase]
                rows += _rows(scene.name, label, view, frame.path, features, entry, query, frozen)
            on_phrase()
    return rows


def _query(field: "FeatureField", phrase: str, meaningless: "Tensor", tower: "TextTower") -> "TextQuery":
    import torch

    from featurefields.maths.relevancy import TextQuery

    mean, basis = field.about.feature_mean, field.about.feature_basis
    if mean is None or basis is None:
        raise SceneError(
            "the field does not say how its features lead back to the extractor's (mean and basis), so words cannot be "
            "compared with them; lift them anew with --solvers uplift"
        )
    texts = torch.cat([tower.embed_text([phrase]), meaningless]).to(mean)
    if texts.shape[1] != len(mean):
        raise SceneError(
            f"the text tower gives {texts.shape[1]} numbers and the field's features have {len(mean)}; they are of "
            "another extractor: lift them anew with --solvers uplift"
        )
    return TextQuery.of(texts, mean, basis)


def _rows(
    scene: str,
    label: "PhraseLabel",
    view: "View",
    path: Path,
    features: str,
    field: "FeatureField",
    query: "TextQuery",
    frozen: "FrozenView",
) -> list[PhraseRow]:
    import torch

    from featurefields.evaluation.protocols import Target, as_seen, counted_pixels, judge
    from featurefields.evaluation.relevancy import THRESHOLD, localised, relevancy_mask, stretched, window_of

    target = Target(view.name, as_seen(label.mask, view, path), counted_pixels(view))
    boxes = [_box_seen(box, label, view) for box in label.boxes]
    window = window_of(view.camera.width)
    drawn = relevancy_drawn(field, query, frozen)
    scores = query.relevancy(field.splats.columns["feature"])
    chosen = stretched(scores) > THRESHOLD
    share = frozen.draw(torch.stack([chosen.to(scores), scores], dim=-1))
    ways = {
        DRAWN: (relevancy_mask(drawn, window=window), drawn),
        CHOSEN: ((share[..., 0] > 0.5).cpu(), _covered(share[..., 1:], frozen)),
    }
    rows = []
    for way, (mask, relevancy) in ways.items():
        score = judge(mask, target)
        found = float(localised(relevancy, boxes, window=window))
        rows.append(
            PhraseRow(scene, label.phrase, view.name, features, way, score.iou, score.accuracy, found)
        )
    return rows


def relevancy_drawn(field: "FeatureField", query: "TextQuery", frozen: "FrozenView") -> "Tensor":
    """Relevancy (h w) of the drawn features; the least of it where hardly anything is drawn."""
    from featurefields.maths.compositing import over_alpha

    pixels = over_alpha(frozen.draw(field.splats.columns["feature"]), frozen.alpha)
    relevancy = query.relevancy(pixels.flatten(0, 1)).reshape(*pixels.shape[:2], 1)
    return _covered(relevancy * frozen.alpha[..., None], frozen)


def _covered(drawn: "Tensor", frozen: "FrozenView") -> "Tensor":
    """A drawn number (h w) over its coverage; the least of it where hardly anything is drawn."""
    import torch

    from featurefields.maths.compositing import over_alpha

    picture, covered = over_alpha(drawn, frozen.alpha)[..., 0], frozen.alpha > 0.5
    least = picture[covered].min() if bool(covered.any()) else picture.min()
    return torch.where(covered, picture, least).cpu()


def _box_seen(
    box: tuple[float, float, float, float], label: "PhraseLabel", view: "View"
) -> tuple[float, float, float, float]:
    """A box of the label's pixels in the view's camera, by its corners."""
    width, height = view.picture.photo_size()
    x_ratio, y_ratio = width / label.mask.shape[1], height / label.mask.shape[0]
    corners = [
        view.picture.photo_to_camera(x * x_ratio, y * y_ratio)
        for x in (box[0], box[2])
        for y in (box[1], box[3])
    ]
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    return min(xs), min(ys), max(xs), max(ys)
