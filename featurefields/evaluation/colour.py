"""A field's pictures, matter and reflections against held-out photos and, where there is any, ground truth.

Letters: h w pixels · m pixels of all views.

The protocols are in docs/evaluation.md. One view is drawn and read at a time; of every pixel some 30 bytes are kept,
for medians and rankings over all views.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import nan

import torch
from jaxtyping import Float, Int
from torch import Tensor

from featurefields.errors import UnknownNameError
from featurefields.evaluation.heldout import mean
from featurefields.evaluation.maps import PER_VIEW, POOLED, view_maps
from featurefields.evaluation.metrics import average_precision, decibel, rank_correlation
from featurefields.evaluation.regions import (
    Region,
    RegionRows,
    SceneObject,
    instance_ids,
    regions_of,
)
from featurefields.field import FeatureField, render
from featurefields.raster import Rasterizer
from featurefields.scene import Scene

HIGHLIGHT = 0.1
"""Specular light above this is a highlight (linear light of the exposed picture, largest channel)."""


@dataclass(frozen=True)
class ColourRow:
    """One region's numbers; NaN where the scene has no truth or the field draws no such layer.

    Attributes:
        name: of the object, the material, or the larger region.
        material: of the object.
        pixels: how many the held-out views show of it.
        psnr_db: the picture against the photo.
        ssim: the same, structural similarity.
        photo_as_diffuse_db: PSNR of the photo itself against the diffuse picture: what doing nothing reaches.
        indep_as_diffuse_db: PSNR of the drawn layer "indep" against the diffuse picture.
        normal_deg: median angle between drawn and true normals.
        roughness: median drawn roughness.
        true_roughness: median true roughness.
        reflective_share: mean share of reflected light in all light, linear.
        highlight_ap: average precision of the reflected light as a score for highlights.
        highlight_share: share of pixels that are highlights, which is what a random score reaches.
    """

    name: str
    material: str
    pixels: int
    psnr_db: float
    ssim: float
    photo_as_diffuse_db: float
    indep_as_diffuse_db: float
    normal_deg: float
    roughness: float
    true_roughness: float
    reflective_share: float
    highlight_ap: float
    highlight_share: float


@dataclass(frozen=True)
class ColourReport:
    """What was measured; `roughness_rank` is Spearman's correlation of drawn and true roughness over the objects."""

    rows: RegionRows[ColourRow]
    roughness_rank: float


@torch.no_grad()
def measure_colour(
    field: FeatureField,
    scene: Scene,
    objects: Sequence[SceneObject],
    *,
    rasterizer: Rasterizer,
    highlight: float = HIGHLIGHT,
    on_view: Callable[[], object] = lambda: None,
) -> ColourReport:
    """Measure a field in the scene's frame on the scene's held-out views.

    Raises:
        UnknownNameError: the field has no head "rgb".
    """
    if "rgb" not in field.heads:
        raise UnknownNameError(
            f"a field's pictures come from its head 'rgb', and this one has only: {', '.join(field.heads) or 'none'}"
        )
    regions = regions_of(objects)
    tallies = [_Tally(region) for region in regions]
    pools = {name: [torch.zeros(0)] for name in POOLED} | {"ids": [torch.zeros(0, dtype=torch.int32)]}
    for view in scene.split("test"):
        ids = instance_ids(view)
        drawn = render(field, view.camera.to(field.splats.means), rasterizer=rasterizer, heads=("rgb",))
        layers = {name: layer.cpu() for name, layer in drawn["rgb"].items()}
        maps = view_maps(layers, drawn.alpha.cpu(), view.picture, scene.world_from_capture.rotation)
        for tally in tallies:
            tally.add(maps, ids)
        pools["ids"].append(ids.flatten().int())
        for name in POOLED:
            pools[name].append(maps[name].flatten())
        on_view()
    pooled = {name: torch.cat(values) for name, values in pools.items()}
    rows = RegionRows.of(regions, [tally.row(pooled, highlight) for tally in tallies])
    pairs = [(row.roughness, row.true_roughness) for row in rows.objects]
    return ColourReport(rows, rank_correlation([a for a, _ in pairs], [b for _, b in pairs]))


class _Tally:
    """Means over a region's pixels, view by view."""

    def __init__(self, region: Region) -> None:
        self.region = region
        self.means: dict[str, list[float]] = {name: [] for name in PER_VIEW}

    def add(self, maps: dict[str, Float[Tensor, "h w"]], ids: Int[Tensor, "h w"]) -> None:
        mask = self.region.seen(ids)
        if mask is None:
            return
        for name, means in self.means.items():
            values = maps[name][mask]
            values = values[values.isfinite()]
            means.extend([float(values.mean())] if len(values) else [])

    def row(self, pooled: dict[str, Tensor], highlight: float) -> ColourRow:
        inside = self.region.holds(pooled["ids"])
        chosen = {name: values[inside] for name, values in pooled.items()}
        score, truth = chosen["reflected"], chosen["specular"]
        known = truth.isfinite()
        truth = truth[known] > highlight
        return ColourRow(
            name=self.region.name,
            material=self.region.material,
            pixels=int(inside.sum()),
            psnr_db=self._decibel("error"),
            ssim=mean(self.means["ssim"]),
            photo_as_diffuse_db=self._decibel("photo_error"),
            indep_as_diffuse_db=self._decibel("indep_error"),
            normal_deg=_median(chosen["normal"]),
            roughness=_median(chosen["roughness"]),
            true_roughness=_median(chosen["true_roughness"]),
            reflective_share=_mean(chosen["share"]),
            highlight_ap=average_precision(score[known], truth),
            highlight_share=float(truth.float().mean()) if len(truth) else nan,
        )

    def _decibel(self, name: str) -> float:
        """Of an object the dB of its mean error over views; of larger regions the mean of the views' dB."""
        errors = self.means[name]
        return decibel(errors) if self.region.object else mean([decibel([error]) for error in errors])


def _median(values: Float[Tensor, "m"]) -> float:
    values = values[values.isfinite()]
    return float(values.median()) if len(values) else nan


def _mean(values: Float[Tensor, "m"]) -> float:
    values = values[values.isfinite()]
    return float(values.mean()) if len(values) else nan
