"""The few views that are lifted, and what a geometry provider gets to see of them.

Letters: v views · m points · h w pixels.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.camera import Camera
from featurefields.errors import FittingError
from featurefields.lifting.depth_range import depth_range
from featurefields.lifting.geometry import PosedPicture
from featurefields.scene import View

TURN = 1.0
"""How many world units (about the distance from the scene) a turn by one radian counts as, between cameras."""


def spread_views(views: Sequence[View], count: int) -> tuple[View, ...]:
    """`count` views as different from each other as can be, in the order of `views` (farthest point sampling).

    The first is the one nearest to the middle of all, so that few views look at what most look at.

    Raises:
        FittingError: fewer than two were asked for, or there are fewer than two.
    """
    _refuse_few(count, len(views))
    if count >= len(views):
        return tuple(views)
    apart = _distances([view.camera for view in views])
    chosen = [int(apart.sum(1).argmin())]
    nearest = apart[chosen[0]].clone()
    while len(chosen) < count:
        chosen.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, apart[chosen[-1]])
    return tuple(views[index] for index in sorted(chosen))


def views_around(views: Sequence[View], target: View, count: int) -> tuple[View, ...]:
    """The `count` views nearest to `target` (itself left out), in the order of `views`.

    Raises:
        FittingError: fewer than two were asked for, or there are fewer than two.
    """
    others = [view for view in views if view.name != target.name]
    _refuse_few(count, len(others))
    apart = _distances([target.camera, *(view.camera for view in others)])[0, 1:]
    nearest = torch.sort(apart, stable=True).indices[:count].tolist()
    return tuple(others[index] for index in sorted(nearest))


def posed_pictures(
    views: Sequence[View],
    points: Float[Tensor, "m 3"] | None,
    *,
    device: torch.device | str = "cpu",
    on_view: Callable[[], object] = lambda: None,
) -> list[PosedPicture]:
    """The views' pictures, cameras and depth ranges on `device`; depth maps stay on disk until asked for."""
    cameras = [view.camera for view in views]
    pictures = []
    for view in views:
        bounds = depth_range(view.camera, points, cameras)
        mask = view.picture.mask()

        def measured(view: View = view) -> Float[Tensor, "h w"] | None:
            depth = view.picture.depth()
            return None if depth is None else depth.to(device)

        pictures.append(
            PosedPicture(
                view.name,
                view.camera.to(torch.device(device)),
                view.picture.image().permute(2, 0, 1).contiguous().to(device),
                bounds.near,
                bounds.far,
                None if mask is None else mask.to(device),
                measured,
            )
        )
        on_view()
    return pictures


def _distances(cameras: Sequence[Camera]) -> Float[Tensor, "v v"]:
    """How different cameras are: distance of their centres and angle between their axes."""
    centres = torch.stack([camera.position for camera in cameras]).double()
    axes = torch.stack([camera.forward for camera in cameras]).double()
    angle = torch.acos((axes @ axes.T).clamp(-1, 1))
    moved = (centres[:, None] - centres[None]).norm(dim=-1)
    return (moved**2 + (TURN * angle) ** 2).sqrt()


def _refuse_few(count: int, there: int) -> None:
    if count < 2 or there < 2:
        raise FittingError(
            f"lifting needs at least two views: {count} asked for, {there} to choose from; depth comes from what "
            "several photos show"
        )
