"""What nerfstudio's viewer, ns-render and ns-eval show of a field: one picture a layer.

Letters: n Gaussians · h w pixels.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from featurefields.camera import Camera
from featurefields.field import FeatureField, render
from featurefields.heads.direct import DirectHead
from featurefields.heads.directional import DirectionalHead
from featurefields.heads.harmonics import HarmonicsHead
from featurefields.heads.interface import Layers
from featurefields.maths.similarity import Similarity
from featurefields.raster import Rasterizer
from featurefields.selection import Selection
from featurefields.splats import Splats
from featurefields.visualization.colours import normal_colours
from featurefields.visualization.principal import FeaturePalette
from featurefields.visualization.sheets import overlay

SIMILARITY = "similarity"
LEAST_OPACITY = 0.1
"""Gaussians less opaque than this do not decide the colours of features."""


@dataclass(frozen=True)
class Display:
    """A field made ready to be shown: its features are colours before they are drawn, three channels a layer.

    Attributes:
        field: what is drawn.
        palette: colours of features that could not be reduced beforehand; None without features.
        offset: what is added to reduced features; None where they are not reduced.
    """

    field: FeatureField
    palette: FeaturePalette | None = None
    offset: Float[Tensor, "3"] | None = None

    @staticmethod
    @torch.no_grad()
    def of(field: FeatureField, name: str = "feature") -> "Display":
        head = field.heads.get(name)
        if head is None:
            return Display(field)
        splats = field.splats
        shown = field.about.cameras.values()
        camera = next(iter(shown)).to(splats.means) if shown else None
        if camera is None:
            return Display(replace(field, heads={"rgb": field.heads["rgb"]}))
        features = head.at_gaussians(splats, camera)["indep"]
        palette = FeaturePalette.fit(features[torch.sigmoid(splats.opacity_logits) > LEAST_OPACITY])
        if not isinstance(head, DirectHead | DirectionalHead):
            return Display(field, palette)
        mean, axes, low, high = (
            tensor.to(features) for tensor in (palette.mean, palette.axes, palette.low, palette.high)
        )
        reduced = axes.T / (high - low)
        wide = [column for column in head.reads if splats.columns[column].shape[-1] == len(mean)]
        columns = {column: splats.columns[column] @ reduced for column in wide}
        offset = -(mean @ reduced) - low / (high - low)
        return Display(field.with_splats(splats.with_columns(**columns)), palette, offset)

    @torch.no_grad()
    def outputs(
        self,
        camera: Camera,
        rasterizer: Rasterizer,
        nerfstudio_from_world: Similarity,
        *,
        selection: Selection | None = None,
        within: Bool[Tensor, "n"] | None = None,
    ) -> dict[str, Tensor]:
        """Pictures (h w 3), and `depth` (h w 1, along the optical axis in nerfstudio's units), `accumulation` and
        `similarity` (h w 1): the score of the Gaussians that are seen, 0..1. `selected` shows what is selected over
        the whole; without a `selection` nothing is. Gaussians that are not `within` are left out."""
        splats, heads = self.field.splats, dict(self.field.heads)
        if selection is not None:
            both = torch.stack([selection.score.clamp(0, 1), selection.mask], dim=-1)
            splats = splats.with_columns(**{SIMILARITY: both.to(splats.means)})
            heads[SIMILARITY] = DirectHead(SIMILARITY)
        if within is not None:
            splats = splats.select(within)
        if len(splats) == 0:
            splats, heads = _nothing(self.field.splats), {"rgb": heads["rgb"]}
        field = FeatureField(splats, heads, self.field.about)
        drawn = render(field, camera.to(splats.means), rasterizer=rasterizer)
        signed = isinstance(heads["rgb"], HarmonicsHead)
        layers = _colour_layers(drawn["rgb"], drawn.alpha, signed)
        found = {name: layer.clamp(0, 1) for name, layer in layers.items()}
        depth = torch.where(drawn.alpha > 0, drawn.depth, drawn.depth.max())
        found["depth"] = depth[..., None] * nerfstudio_from_world.scale
        found["accumulation"] = drawn.alpha[..., None].clamp(0, 1)
        if "feature" in self.field.heads and self.palette is not None:
            layers = drawn.layers.get("feature")
            for layer in ("total", "indep", "dep"):
                picture = None if layers is None else layers.get(layer)
                painted = torch.zeros_like(found["rgb"]) if picture is None else self._painted(layer, picture)
                found["feature" if layer == "total" else f"feature_{layer}"] = painted * found["accumulation"]
        chosen = drawn.layers.get(SIMILARITY)
        nothing = torch.zeros_like(drawn.alpha)
        score, share = (nothing, nothing) if chosen is None else chosen["total"].clamp(0, 1).unbind(-1)
        found[SIMILARITY] = score[..., None]
        found["selected"] = overlay(found["rgb"].cpu(), (share * drawn.alpha).cpu() >= 0.5).to(found["rgb"])
        return found

    def _painted(self, layer: str, picture: Tensor) -> Float[Tensor, "h w 3"]:
        if self.offset is None:
            assert self.palette is not None
            return self.palette.paint(picture, residual=layer == "dep")
        return (picture + (0.5 if layer == "dep" else self.offset)).nan_to_num().clamp(0, 1)


def _colour_layers(layers: Layers, alpha: Float[Tensor, "h w"], signed: bool) -> dict[str, Tensor]:
    """The colours: `rgb` the whole, and what the head knows beside it, each as a picture.

    A `signed` view-dependent part is a difference: none is mid grey.
    """
    found = {"rgb": layers["total"]}
    if "indep" in layers:
        found["rgb_indep"] = layers["indep"]
    if "dep" in layers:
        found["rgb_dep"] = 0.5 + 0.5 * layers["dep"] if signed else layers["dep"]
    if "normal" in layers:
        found["normals"] = normal_colours(layers["normal"], alpha)
    if "roughness" in layers:
        found["roughness"] = layers["roughness"] * alpha[..., None]
    return found


def _nothing(splats: Splats) -> Splats:
    """One Gaussian that nobody sees: drawing needs one."""
    one = splats.select(torch.arange(len(splats), device=splats.means.device) == 0)
    return replace(one, opacity_logits=one.opacity_logits.new_full((1,), -30.0))
