"""Labels of a scene for what an editor made of it.

Letters: n Gaussians of the edited scene · m of the labelled one · k neighbours.

Editors delete, reorder and move splats, and drop columns that they do not know. A splat is recognised, in this order,
by its exact place; by its exact colour and opacity where no other splat has these (which finds what was moved, alone
or with the whole scene); by the nearest splat of about its size (which finds what was stored with fewer digits).
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy.spatial import KDTree
from torch import Tensor

from featurefields.errors import PromptError
from featurefields.splats import Splats

NEAR = 4
"""So many nearest splats are looked at for one of the same size."""
SIZE_RATIO = 1.3
"""Splats of the same size differ by less than this factor along every axis."""
SAME_COLOUR = 0.05
"""Base colours, as files have them, that are stored with fewer digits differ by less."""
MATCHED_MIN = 0.1
"""Fewer recognised splats, of the smaller of the two scenes, mean that the scenes are not the same."""


@dataclass(frozen=True)
class Recognised:
    """Which splat of the labelled scene every splat of the edited one is.

    Attributes:
        index: its row there; -1 where none was recognised.
        exact: how many were at the very place of another.
        alike: how many were recognised by colour and opacity at another place.
        near: how many were recognised as the nearest of about their size.
    """

    index: Int[Tensor, "n"]
    exact: int
    alike: int
    near: int

    @property
    def unmatched(self) -> int:
        return int((self.index < 0).sum())

    def carried(self, ids: Int[Tensor, "m"]) -> Int[Tensor, "n"]:
        """The labels of the recognised splats, 0 for all others."""
        return torch.where(self.index >= 0, ids[self.index.clamp(min=0)], 0)


def recognise(edited: Splats, labelled: Splats, *, tolerance: float = 0.5) -> Recognised:
    """Find every splat of `edited` in `labelled`; both need a column "harmonics", of any degree.

    Nearest splats count within `tolerance` times their middle standard deviation (their largest one where the colour is
    the same), and only when most of what was recognised is where it was: after the whole scene was moved they would be
    found by accident.

    Raises:
        PromptError: hardly anything was recognised, so that these are not the same scene, or it was moved and
            recoloured as a whole.
    """
    index = torch.full((len(edited),), -1)
    index = _paired(_place(edited), _place(labelled), index, several=True)
    exact = int((index >= 0).sum())
    index = _paired(_look(edited), _look(labelled), index, several=False)
    alike = int((index >= 0).sum()) - exact
    if exact >= alike:
        index = _nearest(edited, labelled, index, tolerance)
    near = int((index >= 0).sum()) - exact - alike
    found, least = exact + alike + near, min(len(edited), len(labelled))
    if found < MATCHED_MIN * least or found == 0:
        raise PromptError(
            f"only {found} of {len(edited)} splats are in the labelled scene of {len(labelled)}: it is another scene, "
            "or was moved and recoloured as a whole; give the labelled .ply that this one was edited from"
        )
    return Recognised(index, exact, alike, near)


def _place(splats: Splats) -> NDArray[np.float32]:
    return splats.means.detach().cpu().float().numpy()


def _look(splats: Splats) -> NDArray[np.float32]:
    """Base colour and opacity (n 4), which turning, moving and scaling leave as they are."""
    parts = [splats.columns["harmonics"][:, 0], splats.opacity_logits[:, None]]
    return torch.cat(parts, dim=-1).detach().cpu().float().numpy()


def _paired(
    edited: NDArray[np.float32], labelled: NDArray[np.float32], index: Int[Tensor, "n"], *, several: bool
) -> Int[Tensor, "n"]:
    """`index`, and where it is -1 the row of `labelled` with the same numbers.

    Of several rows with the same numbers the first is that of the first, and so on, the last that of all further
    ones; unless `several`, such rows are left alone on either side.
    """
    whole = np.concatenate([labelled, edited])
    order = np.lexsort(whole.T)
    group = np.empty(len(whole), dtype=np.int64)
    group[order] = np.cumsum(np.append(0, (whole[order][1:] != whole[order][:-1]).any(-1)))
    old, new = group[: len(labelled)], group[len(labelled) :]
    count_old, count_new = (np.bincount(part, minlength=len(whole)) for part in (old, new))
    rows_old, rows_new = (np.argsort(part, kind="stable") for part in (old, new))
    rank = np.empty(len(new), dtype=np.int64)
    rank[rows_new] = np.arange(len(new)) - (np.cumsum(count_new) - count_new)[new[rows_new]]
    known = count_old[new] > 0
    if not several:
        known &= (count_old[new] == 1) & (count_new[new] == 1)
    place = (np.cumsum(count_old) - count_old)[new] + np.minimum(rank, count_old[new] - 1)
    found = torch.from_numpy(rows_old[np.where(known, place, 0)])
    return torch.where((index < 0) & torch.from_numpy(known), found, index)


def _nearest(edited: Splats, labelled: Splats, index: Int[Tensor, "n"], tolerance: float) -> Int[Tensor, "n"]:
    """`index`, and where it is -1 the nearest splat that it can be.

    That has about the same size and is within `tolerance` middle deviations; or it has the same base colour and about
    the same two larger sizes, and is within `tolerance` largest deviations: files with fewer digits move splats that
    are next to nothing across by more than that, and make them thicker.
    """
    open_rows = (index < 0).nonzero()[:, 0]
    if len(open_rows) == 0:
        return index
    places, targets = (part.means.detach().cpu().double() for part in (edited, labelled))
    sizes, target_sizes = (_sizes(part) for part in (edited, labelled))
    count = min(NEAR, len(labelled))
    distance, candidate = KDTree(targets.numpy()).query(places[open_rows].numpy(), k=count, workers=-1)
    distance = torch.from_numpy(np.reshape(distance, (-1, count)))
    candidate = torch.from_numpy(np.reshape(candidate, (-1, count))).long()
    fitting = (sizes[open_rows][:, None] - target_sizes[candidate]).abs() < float(np.log(SIZE_RATIO))
    middle, largest = target_sizes[candidate][..., 1:].exp().unbind(-1)
    colour, target_colour = (torch.from_numpy(_look(part)[:, :3]) for part in (edited, labelled))
    alike = (colour[open_rows][:, None] - target_colour[candidate]).abs().amax(-1) < SAME_COLOUR
    fits = fitting.all(-1) & (distance <= tolerance * middle)
    fits |= alike & fitting[..., 1:].all(-1) & (distance <= tolerance * largest)
    first = fits.double().argmax(-1)
    best = candidate.gather(1, first[:, None])[:, 0]
    result = index.clone()
    result[open_rows] = torch.where(fits.any(-1), best, -1)
    return result


def _sizes(splats: Splats) -> Float[Tensor, "n 3"]:
    """Log scales in ascending order."""
    return splats.log_scales.detach().cpu().double().sort(dim=-1).values
