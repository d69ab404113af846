"""The problem that `lifting.least_squares` solves, as numbers: losses, objectives, and gradients of single views.

Letters: n Gaussians · v views · d feature dimension · k directional functions · m = 1 + k · h w pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.field import FeatureField
from featurefields.heads.directional import DirectionalHead
from featurefields.lifting.least_squares import LeastSquaresConfig
from featurefields.lifting.maps import Maps, counted, weighted
from featurefields.lifting.moments import Moments, basis_of
from featurefields.lifting.solution import with_directional
from featurefields.raster import FrozenViews, Rasterizer
from featurefields.scene import View

NAME = "feature"
"""The head that every solver makes."""


@dataclass(frozen=True)
class Problem:
    """What every solver is given. The maps lie in memory at the pictures' size, so that making them is on no clock."""

    field: FeatureField
    views: Sequence[View]
    maps: Maps
    rasterizer: Rasterizer
    config: LeastSquaresConfig
    budget_bytes: int


class System:
    """The problem with its geometry frozen: one pass over the maps.

    With x = (F, H) the unknowns and F0 the weighted mean of what a Gaussian is seen to be, the objective is
    `least_squares`'s sum of squared errors plus its ridge, over (sum of squared coverage) x d: the loss that solvers
    tell, plus the ridge in the same unit.

    Attributes:
        ridge: its diagonal (n m).
        start: F0 and no view-dependence (n m d).
    """

    def __init__(self, problem: Problem) -> None:
        splats, config = problem.field.splats, problem.config
        cameras = [view.camera.to(splats.means) for view in problem.views]
        self.problem, self.cameras = problem, cameras
        self.frozen = FrozenViews(
            problem.rasterizer, splats, cameras, budget_bytes=problem.budget_bytes
        )  # fmt: skip
        self.pixels = [counted(view, splats.means) for view in problem.views]
        self.bases = [basis_of(config.degree, splats, camera) for camera in cameras]
        moments, mass = None, 0.0
        for view, seen, pixels, basis in zip(
            problem.views, self.frozen, self.pixels, self.bases, strict=True
        ):
            target = weighted(problem.maps[view.name](), seen.alpha * pixels)
            gathered = seen.gather(target)
            moments = moments or Moments(gathered, basis.shape[1])
            moments.add(gathered, basis)
            mass += float(target[..., -1].square().sum(dtype=torch.float64))
        assert moments is not None
        sums = moments.centred()
        for basis in self.bases:
            basis -= sums.centre
        self.centre = sums.centre
        pull = sums.weight.new_full((1 + sums.centre.shape[1],), config.directional_ridge * sums.spread)
        pull[0] = config.ridge
        self.ridge: Float[Tensor, "n m"] = (sums.safe_weight[:, None] * pull).clamp(min=1e-9)
        self.start: Float[Tensor, "n m d"] = torch.zeros_like(sums.crossed)
        self.start[:, 0] = sums.mean
        self.size = mass * self.start.shape[-1]

    def gradient(self, place: int, x: Float[Tensor, "n m d"], out: Float[Tensor, "n m d"]) -> None:
        """Half the gradient of a view's squared error and of its v-th of the ridge, into `out`.

        The sum over all views is half the gradient of objective x size.
        """
        view, seen, basis = self.problem.views[place], self.frozen[place], self.bases[place]
        error = seen.draw(self._shown(x, basis))
        error.addcmul_(self.problem.maps[view.name]().to(error), seen.alpha[..., None], value=-1)
        gathered = seen.gather(error.mul_(self.pixels[place][..., None]))
        out[:, 0] = gathered
        for index in range(basis.shape[1]):
            torch.mul(gathered, basis[:, index, None], out=out[:, 1 + index])
        part = 1 / len(self.bases)
        out.addcmul_(self.ridge[..., None], x, value=part)
        out[:, 0].addcmul_(self.ridge[:, :1], self.start[:, 0], value=-part)

    @staticmethod
    def _shown(x: Float[Tensor, "n m d"], basis: Float[Tensor, "n k"]) -> Float[Tensor, "n d"]:
        shown = x[:, 0].clone()
        for index in range(basis.shape[1]):
            shown.addcmul_(basis[:, index, None], x[:, 1 + index])
        return shown

    @torch.no_grad()
    def loss(self, field: FeatureField) -> float:
        """The loss of a field with any feature head, over all pixels of all views."""
        head, error = field.heads[NAME], 0.0
        for place, camera in enumerate(self.cameras):
            seen = self.frozen[place]
            drawn = head.decode(seen.draw(head.splat(field.splats, camera)), seen.alpha, camera)["total"]
            wanted = self.problem.maps[self.problem.views[place].name]().to(drawn)
            weight = seen.alpha.square() * self.pixels[place]
            error += float((weight[..., None] * (drawn - wanted).square()).sum(dtype=torch.float64))
        return error / self.size

    def objective(self, field: FeatureField, loss: float) -> float:
        """The objective of a field of the linear model whose `loss` is known."""
        change = self.unknowns(field) - self.start
        return loss + float((self.ridge[..., None] * change.square()).sum(dtype=torch.float64)) / self.size

    def unknowns(self, field: FeatureField) -> Float[Tensor, "n m d"]:
        """The unknowns of a field of the linear model."""
        columns = field.splats.columns
        indep = columns[NAME][:, None]
        if not isinstance(field.heads[NAME], DirectionalHead):
            return indep
        return torch.cat([indep, columns[f"{NAME}_dep"]], dim=1)

    def field(self, x: Float[Tensor, "n m d"]) -> FeatureField:
        """The field with these unknowns."""
        return with_directional(
            self.problem.field, NAME, self.problem.config.degree, x[:, 0], x[:, 1:], self.centre
        )
