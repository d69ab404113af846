"""From our colour model to the spherical harmonics of ordinary splat files.

Letters: n Gaussians · v directions · k harmonics.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.camera import Camera
from featurefields.errors import PromptError
from featurefields.field import FeatureField
from featurefields.heads.harmonics import HarmonicsHead
from featurefields.heads.reflected import ReflectedHead, diffuse_from_logit
from featurefields.maths.colour import srgb_from_linear
from featurefields.maths.harmonics import harmonics, harmonics_count
from featurefields.splats import Splats

VIEWPOINTS = 48
"""Most camera positions that are looked from."""
RIDGE = 1e-3
"""Ridge on all but the constant band, relative to the summed weights: bands that were not seen stay small."""


@torch.no_grad()
def bake_harmonics(
    field: FeatureField, degree: int = 3, *, on_view: Callable[[], object] = lambda: None
) -> Splats:
    """The field's Gaussians with columns "harmonics" (n k 3), and "normals" where it has them.

    Every Gaussian's colour, shaded by itself from the positions of the field's cameras (from all around when it has
    none), is fitted by weighted least squares; directions from which its front is seen count most. A field that has
    harmonics already keeps them, cut to `degree`. `on_view` is called after each of at most `VIEWPOINTS` positions.

    Raises:
        PromptError: the field has no colours.
    """
    head = field.heads.get("rgb")
    splats, columns = field.splats, field.splats.columns
    extra = {}
    if "normals" in columns:
        extra["normals"] = torch.nn.functional.normalize(columns["normals"], dim=-1)
    if isinstance(head, HarmonicsHead):
        kept = columns["harmonics"][:, : harmonics_count(min(degree, head.degree))]
        return Splats(*_geometry(splats), {"harmonics": kept, **extra})
    if not isinstance(head, ReflectedHead):
        raise PromptError(
            f"the field has no colours to export: its heads are {', '.join(field.heads) or 'none'}"
        )
    n, k = len(splats), harmonics_count(degree)
    normal_matrix = splats.means.new_zeros(n, k, k)
    right_side = splats.means.new_zeros(n, k, 3)
    for position in _viewpoints(field):
        towards = torch.nn.functional.normalize(splats.means - position, dim=-1)
        colour, weight = _shade(head, splats, towards)
        basis = harmonics(towards, tuple(range(degree + 1)))
        weighted = weight[:, None] * basis
        normal_matrix += weighted[:, :, None] * basis[:, None, :]
        right_side += weighted[:, :, None] * (colour - 0.5)[:, None, :]
        on_view()
    ridge = torch.full((k,), RIDGE).to(normal_matrix)
    ridge[0] = 1e-6
    scale = normal_matrix.diagonal(dim1=1, dim2=2).sum(-1, keepdim=True)
    coefficients = torch.linalg.solve(normal_matrix + torch.diag_embed(scale * ridge + 1e-9), right_side)
    return Splats(*_geometry(splats), {"harmonics": coefficients, **extra})


def _geometry(splats: Splats) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return splats.means, splats.quats, splats.log_scales, splats.opacity_logits


def _viewpoints(field: FeatureField) -> Float[Tensor, "v 3"]:
    cameras: list[Camera] = list(field.about.cameras.values())
    means = field.splats.means
    if cameras:
        step = max(1, len(cameras) // VIEWPOINTS)
        return torch.stack([camera.position for camera in cameras[::step]][:VIEWPOINTS]).to(means)
    centre, radius = means.median(0).values, 3 * means.std(0).norm().clamp(min=1e-3)
    index = torch.arange(VIEWPOINTS).to(means) + 0.5
    height, turn = 1 - 2 * index / VIEWPOINTS, index * 2.399963
    flat = (1 - height**2).sqrt()
    return centre + radius * torch.stack([flat * turn.cos(), flat * turn.sin(), height], dim=-1)


def _shade(
    head: ReflectedHead, splats: Splats, towards: Float[Tensor, "n 3"]
) -> tuple[Float[Tensor, "n 3"], Float[Tensor, "n"]]:
    """Display colour of every Gaussian seen along `towards`, and how much that view of it counts."""
    columns = splats.columns
    normals = torch.nn.functional.normalize(columns["normals"], dim=-1)
    gloss = torch.sigmoid(columns["gloss"])
    tint, roughness = gloss * torch.sigmoid(columns["tint"]), torch.sigmoid(columns["roughness"])
    linear = diffuse_from_logit(columns["diffuse"])
    linear = linear + head.distant_light(splats.means, towards, normals, tint, gloss, roughness)
    linear = (linear + head.near_light(splats, towards)).clamp(min=0)
    facing = -(towards * normals).sum(-1)
    return srgb_from_linear(linear).clamp(max=1.0), facing.clamp(min=0) + 0.02
