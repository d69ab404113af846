"""The layers of a drawn view as pictures, in colours that stay the same over all views.

Letters: h w pixels · d channels of a layer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.visualization.colours import depth_colours, depth_limits, normal_colours, scalar_colours
from featurefields.visualization.principal import FeaturePalette, palette_of

COLOURS = ("rgb", "indep", "dep", "distant", "near", "tint")
"""Layers that are display colours already."""
SIGNED = -0.02
"""A colour layer with values below this is a difference, not a colour."""


def named_layers(
    heads: Mapping[str, Mapping[str, Tensor]], alpha: Float[Tensor, "h w"], depth: Float[Tensor, "h w"]
) -> dict[str, Tensor]:
    """Every layer of a view (h w d) by one name, those of the "rgb" head first.

    The "rgb" head's layers are called "rgb" (its total), "indep", "dep", "normal", "roughness"; those of any
    other head after the head: "feature", "feature_indep", "feature_dep". Last come
    "depth" and "alpha" (h w 1).
    """
    named = {}
    for head, layers in sorted(heads.items(), key=lambda entry: entry[0] != "rgb"):
        for layer, picture in layers.items():
            rest = layer if head == "rgb" else f"{head}_{layer}"
            named[head if layer == "total" else rest] = picture
    return named | {"depth": depth[..., None], "alpha": alpha[..., None]}


@dataclass(frozen=True)
class LayerPainter:
    """Paints layers named as `named_layers` does.

    Attributes:
        palettes: head name → palette of its features.
        limits: nearest and farthest depth.
        signed: colour layers that go below 0, as what harmonics add to their constant does.
    """

    palettes: Mapping[str, FeaturePalette]
    limits: tuple[float, float]
    signed: frozenset[str] = frozenset()

    @staticmethod
    def fit(views: Sequence[Mapping[str, Tensor]]) -> "LayerPainter":
        """A painter whose colours suit these views (each as `named_layers` gives it; small pictures do).

        Layers that not every view has (of two fields, for example) are not painted.
        """
        views = [
            {name: view[name] for name in views[0] if all(name in each for each in views)} for view in views
        ]
        alphas = [view["alpha"][..., 0] for view in views]
        # The palette is that of the whole, or of a part when the whole was not drawn.
        palettes = {}
        for name in sorted(views[0], key=lambda name: name.endswith(("_indep", "_dep"))) if views else ():
            if _is_feature(name, views[0][name]) and _head(name) not in palettes:
                palettes[_head(name)] = palette_of([view[name] for view in views], alphas)
        if not views:
            return LayerPainter(palettes, (0.0, 1.0))
        depths = torch.cat([view["depth"].flatten() for view in views])
        limits = depth_limits(depths, torch.cat([alpha.flatten() for alpha in alphas]))
        colours = [name for name in COLOURS if name in views[0]]
        signed = frozenset(name for name in colours if any((view[name] < SIGNED).any() for view in views))
        return LayerPainter(palettes, limits, signed)

    def paint(self, name: str, view: Mapping[str, Tensor]) -> Float[Tensor, "h w 3"]:
        """Display colours in 0..1 of one layer of a view.

        Colours as they are, or around mid grey when they are differences; normals as red, green, blue;
        roughness and other single numbers in 0..1 on a ramp; depth near to far; alpha grey; features in the
        palette of their head, their view-dependent part ("…_dep") as a difference around mid grey.
        """
        layer, alpha = view[name], view["alpha"][..., 0]
        if name == "depth":
            return depth_colours(layer[..., 0], alpha, self.limits)
        if name == "alpha":
            return layer.clamp(0.0, 1.0).expand(*layer.shape[:2], 3)
        if name in COLOURS:
            layer = 0.5 + 0.5 * layer if name in self.signed else layer
            return layer.nan_to_num().clamp(0.0, 1.0)
        if name == "normal":
            return normal_colours(layer, alpha)
        if layer.shape[-1] == 1:
            return scalar_colours(layer[..., 0]) * alpha.clamp(0.0, 1.0)[..., None]
        return self.palettes[_head(name)].paint(layer, alpha, residual=name.endswith("_dep"))


def _head(name: str) -> str:
    return name.removesuffix("_indep").removesuffix("_dep")


def _is_feature(name: str, layer: Tensor) -> bool:
    return name not in (*COLOURS, "normal") and layer.shape[-1] > 1
