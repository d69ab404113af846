"""From our colour model to the spherical harmonics of ordinary splat files.

Letters: n Gaussians · k harmonics · both: n and those of the sky.

Our reflections are looked up once a pixel, from what covers it, in linear light; ordinary splats show a colour each,
composited as displayed. What single Gaussians would show by themselves is therefore far off. Instead the harmonics are
found that together look like our pictures, from the field's cameras and from between them (`bands`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from featurefields.camera import Camera
from featurefields.editing.bands import SEEN, BandViews, how_seen, solve
from featurefields.editing.dome import sky_splats
from featurefields.editing.viewpoints import ViewpointsConfig, baking_cameras
from featurefields.errors import PromptError
from featurefields.field import FeatureField, render
from featurefields.heads.harmonics import HarmonicsHead
from featurefields.heads.reflected import ReflectedHead
from featurefields.maths.harmonics import CONSTANT, harmonics_count
from featurefields.raster import FROZEN_BYTES, FrozenViews, Rasterizer, choose_rasterizer
from featurefields.splats import Splats, concatenate

UNSEEN_VIEWS = 6
"""Cameras whose mean colour is taken for Gaussians that no view shows."""


@dataclass(frozen=True, kw_only=True)
class BakeConfig:
    """How carefully."""

    viewpoints: ViewpointsConfig = ViewpointsConfig()
    """From where the field is looked at."""
    ridge: float = 0.003
    """Pull of all bands towards the mean colour alone, in pixels: what was hardly seen does not vary."""
    rounds: int = 1
    """Times that what shows black is found anew."""
    steps: int = 12
    """Steps of conjugate gradients in each."""
    kept_bytes: int = 2**28
    """Memory for views that are kept; the others are made anew in every pass."""


QUICK = BakeConfig(viewpoints=ViewpointsConfig(views=48, between=1, least=16), ridge=0.03, steps=3)
"""A look at the result: 1 to 2 dB further from our pictures on shiny things, in a tenth of the time or less."""


@torch.no_grad()
def bake_harmonics(
    field: FeatureField,
    degree: int = 3,
    *,
    sky: bool = False,
    rasterizer: Rasterizer | None = None,
    config: BakeConfig = BakeConfig(),
    on_view: Callable[[], object] = lambda: None,
) -> Splats:
    """The field's Gaussians with columns "harmonics" (n k 3), and "normals" where it has them.

    They look like the field without its sky; with `sky`, as the field does, and splats that show the sky (`sky_splats`)
    follow the field's own. A field that has harmonics already keeps them, cut to `degree`. `on_view` is called after
    every pass over one of the views.

    Raises:
        PromptError: the field has no colours.
    """
    head = field.heads.get("rgb")
    if isinstance(head, HarmonicsHead):
        bands = field.splats.columns["harmonics"][:, : harmonics_count(min(degree, head.degree))]
        return _ordinary(field.splats, bands)
    if not isinstance(head, ReflectedHead):
        raise PromptError(
            f"the field has no colours to export: its heads are {', '.join(field.heads) or 'none'}"
        )
    dome = sky_splats(field, degree) if sky else None
    seen = field if dome is not None else replace(field, heads={"rgb": head.without_surroundings()})
    cameras = baking_cameras(field, config.viewpoints)
    rasterizer = rasterizer or choose_rasterizer(device=field.splats.means.device)
    pictures = []
    for camera in cameras:
        drawn = render(seen, camera, rasterizer=rasterizer, heads=("rgb",))
        pictures.append(drawn["rgb"]["total"].clamp(0, 1))
        on_view()
    splats = _ordinary(field.splats, field.splats.means.new_zeros(len(field), harmonics_count(degree), 3))
    splats = splats if dome is None else concatenate([splats, dome])
    frozen = FrozenViews(
        rasterizer, splats, cameras, budget_bytes=config.kept_bytes, passing_bytes=FROZEN_BYTES
    )
    views = BandViews(splats.means, degree, frozen, cameras, on_view)
    found = how_seen(views, pictures, config.ridge)
    colour = torch.where(found.weight[:, None] > SEEN, found.colour, _unseen(field, cameras, dome))
    prior = colour.new_zeros(harmonics_count(degree), 3, len(splats))
    prior[0] = (colour.T - 0.5) / CONSTANT
    bands = solve(views, pictures, found, prior, ridge=config.ridge, rounds=config.rounds, steps=config.steps)
    return splats.with_columns(harmonics=bands.permute(2, 0, 1).contiguous())


def passes(field: FeatureField, config: BakeConfig = BakeConfig()) -> int:
    """How often `bake_harmonics` calls `on_view`."""
    if not isinstance(field.heads.get("rgb"), ReflectedHead):
        return 0
    return len(baking_cameras(field, config.viewpoints)) * (2 + config.rounds * (1 + config.steps))


def _ordinary(splats: Splats, bands: Float[Tensor, "n k 3"]) -> Splats:
    """The geometry with these harmonics, and unit normals where there are any."""
    columns = {"harmonics": bands}
    if "normals" in splats.columns:
        columns["normals"] = normalize(splats.columns["normals"], dim=-1)
    return replace(splats, columns=columns)


def _unseen(field: FeatureField, cameras: Sequence[Camera], dome: Splats | None) -> Float[Tensor, "both 3"]:
    """What Gaussians show by themselves, the mean over some cameras; the sky's are what they are."""
    some = cameras[:: max(1, -(-len(cameras) // UNSEEN_VIEWS))]
    shown = [field.heads["rgb"].at_gaussians(field.splats, camera)["total"].clamp(0, 1) for camera in some]
    colour = torch.stack(shown).mean(0)
    return colour if dome is None else torch.cat([colour, 0.5 + CONSTANT * dome.columns["harmonics"][:, 0]])
