"""A field as prompts see it, and what can be kept from one prompt to the next.

Letters: n Gaussians · d feature dimension · h w pixels.
"""

from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.camera import Camera
from featurefields.errors import PromptError
from featurefields.field import FeatureField
from featurefields.heads import Head
from featurefields.maths.cosine import CosineSpace
from featurefields.raster import FROZEN_BYTES, FrozenView, RasterConfig, Rasterizer, Visibility
from featurefields.segmentation.hierarchy import Hierarchy, hierarchy_of
from featurefields.segmentation.scores import average_features, stored_features

Layer = Literal["indep", "total", "dep"]
"""Which features are compared: what surfaces are, what they show to the prompt's camera, or what they reflect to it."""

LOOKS, LOOK_PX = 16, 256
"""How many cameras, at most how wide and high, tell how much of every Gaussian can be seen."""

SEEN_KEPT = 4
"""Cameras whose view-dependent features are kept."""

FAINT = 0.25
"""Reflections count as alike only where they are not much weaker than this part of the prompted ones."""


@dataclass(frozen=True)
class UnitSpace(CosineSpace):
    """The space of vectors that have unit length already: nothing is calculated again for every comparison."""

    def embed(self, stored: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
        return stored

    def units(self, stored: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
        return stored


class ViewedField:
    """A field, what draws it, and a memory of frozen views, their visibility and view-dependent features.

    Frozen views are kept up to `budget_bytes`; the one that was not used for longest goes first. Nothing that is kept
    changes what is computed.
    """

    def __init__(
        self, field: FeatureField, rasterizer: Rasterizer, *, budget_bytes: int = FROZEN_BYTES
    ) -> None:
        self.field, self.rasterizer, self._budget = field, rasterizer, budget_bytes
        self.raster_config = RasterConfig()
        self._views: OrderedDict[bytes, FrozenView] = OrderedDict()
        self._visibility: dict[bytes, Visibility] = {}
        self._layers: OrderedDict[bytes, dict[str, Tensor]] = OrderedDict()
        self._hierarchies: OrderedDict[bytes, Hierarchy] = OrderedDict()
        self._units: dict[bool, Tensor] = {}

    @cached_property
    def fingerprint(self) -> str:
        return self.field.fingerprint()

    @cached_property
    def colour(self) -> Head | None:
        """The head of colours that tells matter and reflections apart, without the sky; None without one."""
        head = self.field.heads.get("rgb")
        return None if head is None else head.without_surroundings()

    def view(self, camera: Camera) -> FrozenView:
        """The frozen view of a camera."""
        key = camera_key(camera)
        view = self._views.pop(key, None)
        if view is None:
            on_device = camera.to(self.field.splats.means)
            view = self.rasterizer.freeze(
                self.field.splats, on_device, self.raster_config, budget_bytes=self._budget
            )
        self._views[key] = view
        while len(self._views) > 1 and sum(kept.nbytes for kept in self._views.values()) > self._budget:
            oldest, _ = self._views.popitem(last=False)
            self._visibility.pop(oldest, None)
        return view

    def visibility(self, camera: Camera) -> Visibility:
        """How well a camera sees every Gaussian."""
        key, view = camera_key(camera), self.view(camera)
        if key not in self._visibility:
            self._visibility[key] = view.visibility()
        return self._visibility[key]

    @cached_property
    def seen(self) -> Float[Tensor, "n"]:
        """How much the field's cameras show of every Gaussian; how much it can show where there are none."""
        splats, cameras = self.field.splats, list(self.field.about.cameras.values())
        if not cameras:
            return splats.footprints.detach()
        total = torch.zeros_like(splats.opacity_logits)
        for camera in cameras[:: -(-len(cameras) // LOOKS)]:
            width, height = camera.size
            shrink = min(1.0, LOOK_PX / max(width, height))
            small = camera.resized((max(1, round(shrink * width)), max(1, round(shrink * height))))
            every_pixel = torch.ones(small.height, small.width, 1).to(splats.means)
            total += self.rasterizer.gather(splats, every_pixel, small.to(splats.means), self.raster_config)[
                :, 0
            ]
        return total

    def hierarchy(self, layer: Layer, camera: Camera | None) -> Hierarchy:
        """The tree of regions by features of a layer, as `camera` sees them; for "indep", which needs no camera, by
        their average over all directions.
        """
        key = b"" if layer == "indep" or camera is None else camera_key(camera)
        found = self._hierarchies.pop(key, None)
        if found is None:
            features = average_features(self.field) if layer == "indep" else self.features(layer, camera)
            found = hierarchy_of(self.field, self.seen, features=features)
        self._hierarchies[key] = found
        if len(self._hierarchies) > SEEN_KEPT:
            self._hierarchies.popitem(last=False)
        return found

    @torch.no_grad()
    def features(self, layer: Layer, camera: Camera | None) -> Float[Tensor, "n d"]:
        """Every Gaussian's own features in a layer, as `camera` sees them; "indep" needs no camera.

        Raises:
            PromptError: the field has no features, none of them depend on the view ("dep"), or there is no camera.
        """
        indep = stored_features(self.field)
        if layer == "indep":
            return indep
        if camera is None:
            raise PromptError(
                f"the field '{layer}' was asked for, which depends on the view, and a text is given in none; "
                "compare the field 'indep', or click"
            )
        key = camera_key(camera)
        layers = self._layers.pop(key, None)
        if layers is None:
            on_device = camera.to(self.field.splats.means)
            found = self.field.heads["feature"].at_gaussians(self.field.splats, on_device)
            layers = {name: found[name].detach() for name in ("total", "dep") if name in found}
        self._layers[key] = layers
        if len(self._layers) > SEEN_KEPT:
            self._layers.popitem(last=False)
        if layer not in layers or (layer == "dep" and not bool(layers["dep"].any())):
            raise PromptError(
                f"the field '{layer}' was asked for, but nothing in these features depends on the view; compare the "
                "field 'indep', or fit features with a degree above 0"
            )
        return layers[layer]

    def space(self, layer: Layer, prompted: Float[Tensor, "q d"], *, centred: bool) -> CosineSpace:
        """How features of a layer are compared with prompted ones.

        Reflections much weaker than the prompted ones have no direction worth comparing: to every feature the same
        number is appended, a quarter of the prompted ones' length, which leaves strong ones as they are.
        """
        dim = prompted.shape[-1]
        if layer == "dep":
            return CosineSpace(torch.zeros(dim), FAINT * float(prompted.norm(dim=-1).mean()))
        return CosineSpace.plain(dim) if centred else self.field.about.cosine_space(dim)

    def units(
        self, layer: Layer, features: Float[Tensor, "n d"], space: CosineSpace, *, centred: bool
    ) -> Float[Tensor, "n e"]:
        """Features of a layer as unit vectors of the space that `space` gives; those of "indep" are kept."""
        if layer != "indep":
            return space.units(features)
        if centred not in self._units:
            self._units[centred] = space.units(features)
        return self._units[centred]


def camera_key(camera: Camera) -> bytes:
    """The same for cameras that take the same picture."""
    parts = (camera.world_from_camera, camera.focal_px, camera.centre_px)
    numbers = torch.cat(
        [*(part.detach().cpu().double().reshape(-1) for part in parts), torch.tensor(camera.size)]
    )
    return numbers.numpy().tobytes()
