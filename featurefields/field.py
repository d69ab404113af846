"""`FeatureField` = splats + heads, and `render`: one pass over all heads.

Letters: n Gaussians · h w pixels · c drawn channels · d channels of a layer.
"""

from collections.abc import Collection, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from hashlib import sha256

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.camera import Camera
from featurefields.heads.interface import Head, Layers
from featurefields.maths.compositing import over_alpha
from featurefields.maths.cosine import CosineSpace
from featurefields.maths.similarity import Similarity
from featurefields.raster import RasterConfig, Rasterizer, choose_rasterizer
from featurefields.splats import Splats


@dataclass(frozen=True)
class About:
    """Where a field comes from and how to read it.

    Attributes:
        scene: name of the scene it was fitted to.
        data: folder of the photos when it was fitted ("" when unknown); only a hint.
        world_from_capture: from the frame of the photos' poses to the frame of the splats.
        cameras: the cameras it was fitted with or checked against, by view name.
        extractor: fingerprint of the feature extractor ("" without features).
        feature_mean: mean of the extracted features (D).
        feature_basis: orthonormal rows (d D): extracted = mean + stored @ basis.
        notes: further JSON-able facts (steps, seed, versions, metrics).
    """

    scene: str = ""
    data: str = ""
    world_from_capture: Similarity = field(default_factory=Similarity.identity)
    cameras: Mapping[str, Camera] = field(default_factory=dict)
    extractor: str = ""
    feature_mean: Float[Tensor, "D"] | None = None
    feature_basis: Float[Tensor, "d D"] | None = None
    notes: Mapping[str, object] = field(default_factory=dict)

    def cosine_space(self, dim: int) -> CosineSpace:
        """Cosines of the extracted features; of stored ones of `dim` numbers where nothing else is known."""
        if self.feature_mean is None or self.feature_basis is None:
            return CosineSpace.plain(dim)
        return CosineSpace.of(self.feature_mean, self.feature_basis)


@dataclass(frozen=True)
class FeatureField:
    """Gaussians, the heads that give their columns meaning, and where they come from."""

    splats: Splats
    heads: Mapping[str, Head]
    about: About = field(default_factory=About)

    def __len__(self) -> int:
        return len(self.splats)

    def fingerprint(self) -> str:
        """Identifies the set of Gaussians (their number, order and places), whatever they carry."""
        means = self.splats.means.detach().to("cpu", torch.float32).contiguous()
        return sha256(means.numpy().tobytes()).hexdigest()[:16]

    def with_splats(self, splats: Splats) -> "FeatureField":
        return replace(self, splats=splats)

    def to(self, device: torch.device | str) -> "FeatureField":
        heads = {name: deepcopy(head).to(device) for name, head in self.heads.items()}
        return replace(self, splats=self.splats.to(device), heads=heads)

    def moved(self, similarity: Similarity) -> "FeatureField":
        """The field in another frame, cameras and surroundings included: what they see stays the same."""
        rotation = similarity.rotation.to(self.splats.means)
        columns, turned = dict(self.splats.columns), {}
        for head in self.heads.values():  # each from the columns as they were: what two heads read turns once
            changed = head.turned(columns, rotation)
            turned |= {name: column for name, column in changed.items() if column is not columns[name]}
        splats = self.splats.moved(similarity).with_columns(**turned)
        cameras = {
            name: replace(camera, world_from_camera=similarity.pose(camera.world_from_camera))
            for name, camera in self.about.cameras.items()
        }
        about = replace(
            self.about, cameras=cameras, world_from_capture=similarity.after(self.about.world_from_capture)
        )
        heads = {name: head.in_moved_world(similarity) for name, head in self.heads.items()}
        return FeatureField(splats, heads, about)


@dataclass(frozen=True)
class Rendering:
    """What one camera sees.

    Attributes:
        layers: head name → layer name → picture (h w d).
        alpha: coverage.
        depth: mean depth along the optical axis of what covers the pixel, 0 where nothing does.
    """

    layers: Mapping[str, Layers]
    alpha: Float[Tensor, "h w"]
    depth: Float[Tensor, "h w"]

    def __getitem__(self, head: str) -> Layers:
        return self.layers[head]


def render(
    field: FeatureField,
    camera: Camera,
    *,
    rasterizer: Rasterizer | None = None,
    heads: Collection[str] | None = None,
    config: RasterConfig = RasterConfig(),
) -> Rendering:
    """Draw the channels of all `heads` (default: every head) and depth in one pass, then decode each head.

    The splats' device decides the backend when `rasterizer` is None.
    """
    splats = field.splats
    rasterizer = rasterizer or choose_rasterizer(device=splats.means.device)
    chosen = {name: head for name, head in field.heads.items() if heads is None or name in heads}
    depths = ((splats.means - camera.position) @ camera.forward)[:, None]
    parts = [head.splat(splats, camera) for head in chosen.values()]
    drawn = rasterizer.draw(splats, torch.cat([*parts, depths], dim=-1), camera, config)
    pieces = drawn.image.split([part.shape[-1] for part in parts] + [1], dim=-1)
    layers = {
        name: head.decode(pixels, drawn.alpha, camera)
        for (name, head), pixels in zip(chosen.items(), pieces[:-1], strict=True)
    }
    return Rendering(layers, drawn.alpha, over_alpha(pieces[-1], drawn.alpha).squeeze(-1))
