"""Features by gradient descent: any head, any loss, one view a step.

Letters: n Gaussians · v views · d feature dimension · k directional functions · l code dimension · h w pixels.

Least squares is exact where features are linear in the unknowns and the error is squared. Descent does the rest: a
view-dependent part that a network makes (`DeferredHead`), or the cosine of whole features. The geometry is fixed;
columns and network start at the one-pass lift without a view-dependent part and follow Adam (Kingma and Ba 2015).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from featurefields.camera import Camera
from featurefields.errors import FittingError
from featurefields.field import FeatureField
from featurefields.heads.deferred import DeferredHead
from featurefields.heads.direct import DirectHead
from featurefields.heads.directional import DirectionalHead
from featurefields.heads.interface import Head
from featurefields.lifting.maps import Maps, counted
from featurefields.lifting.moments import Moments, basis_of
from featurefields.lifting.solution import Solution, with_head
from featurefields.lifting.uplift import uplift_mean
from featurefields.maths.cosine import CosineSpace
from featurefields.raster import FROZEN_BYTES, FrozenView, FrozenViews, RasterConfig, Rasterizer
from featurefields.scene import View


@dataclass(frozen=True, kw_only=True)
class DescentConfig:
    """What is learned, and how."""

    head: Literal["deferred", "directional", "direct"] = "deferred"
    """View-dependent part: a network, linear in directional functions, or none."""
    loss: Literal["mse", "cosine"] = "mse"
    """Squared difference of stored features, or 1 - cosine of whole extracted ones."""
    epochs: int = 20
    """How often every view is looked at."""
    rate: float = 0.02
    """Step size of the columns, as a share of the features' root mean square."""
    network_rate: float = 1e-2
    """Step size of the network."""
    final_rate: float = 0.1
    """Share of both step sizes at the end; they fall exponentially."""
    dep_weight: float = 0.05
    """Weight of the view-dependent part's mean square: what can be view-independent stays there."""
    degree: int = 1
    """Degree of the harmonics of a directional head."""
    code: int = 8
    """Numbers a Gaussian that tell the network of a deferred head what it looks at."""
    hidden: int = 64
    """Width of the network of a deferred head."""
    stride: int = 3
    """A step compares every so many pixels in both directions of its view, starting at a random one."""
    seed: int = 0
    """Seed of the network's first weights and of the order of the views."""


def working_bytes(
    count: int, dim: int, views: int, pixels: int, config: DescentConfig = DescentConfig()
) -> int:
    """About how much memory `descend` takes beside the frozen views, for `views` views of `pixels` pixels each."""
    k = (config.degree + 1) ** 2 - 1
    learned = dim + {"deferred": config.code, "directional": k * dim, "direct": 0}[config.head]
    drawn = dim + {"deferred": config.code + 4, "directional": dim, "direct": 0}[config.head]
    compared = 10 * dim + (8 * config.hidden + 200 if config.head == "deferred" else 0)
    picture = 3 * dim + 3 * drawn + compared / config.stride**2
    return int(4 * (count * (5 * learned + 3 * drawn) + pixels * picture) + views * pixels)


def descend(
    field: FeatureField,
    views: Sequence[View],
    maps: Maps,
    *,
    rasterizer: Rasterizer,
    name: str = "feature",
    config: DescentConfig = DescentConfig(),
    raster: RasterConfig = RasterConfig(),
    budget_bytes: int = FROZEN_BYTES,
    on_view: Callable[[], object] = lambda: None,
    on_loss: Callable[[float], object] = lambda loss: None,
) -> Solution:
    """The field with a head called `name` that follows the maps of all views.

    Cosines are those of extracted features, which `field.about` tells how to make from stored ones. Views come in
    random order, each once an epoch, and every time their maps are made anew; there is one loss an epoch, the mean
    over its steps, without `dep_weight`'s part. Frozen views are kept as far as `budget_bytes` go. `on_view` is
    called v (1 + epochs) times, `on_loss` after every epoch.

    Raises:
        FittingError: there is no view to fit to, or the features grew without bound.
    """
    splats = field.splats.detach()
    cameras = [view.camera.to(splats.means) for view in views]
    frozen = FrozenViews(rasterizer, splats, cameras, raster, budget_bytes=budget_bytes)
    mean, _ = uplift_mean(
        field, views, maps, rasterizer=rasterizer, config=raster, frozen=frozen, on_view=on_view
    )
    pixels = [counted(view, splats.means) for view in views]
    start = _start(field, mean, name, config, frozen, cameras, pixels)
    descent = _Descent(field, name, start, config)
    generator = torch.Generator().manual_seed(config.seed)
    losses = []
    for epoch in range(config.epochs):
        error = mass = 0.0
        for step, place in enumerate(torch.randperm(len(views), generator=generator).tolist()):
            descent.set_rates((epoch + step / len(views)) / config.epochs)
            target = maps[views[place].name]().to(mean)
            row, column = torch.randint(config.stride, (2,), generator=generator).tolist()
            chosen = _Lattice(row, column, config.stride)
            its_error, its_mass = descent.step(
                frozen[place], chosen.camera(cameras[place]), chosen, pixels[place], target
            )
            error, mass = error + its_error, mass + its_mass
            on_view()
        losses.append(error / max(mass, 1e-12))
        if not isfinite(losses[-1]):
            raise FittingError(
                f"the features grew without bound in epoch {epoch + 1} of {config.epochs}; take smaller steps than "
                f"{config.rate:g} and {config.network_rate:g}"
            )
        on_loss(losses[-1])
    return Solution(descent.result(), tuple(losses))


@dataclass(frozen=True)
class _Start:
    """A head, its columns that are learned, and those that are not."""

    head: Head
    learned: Mapping[str, Tensor]
    fixed: Mapping[str, Tensor]


def _start(
    field: FeatureField,
    mean: Float[Tensor, "n d"],
    name: str,
    config: DescentConfig,
    frozen: Sequence[FrozenView],
    cameras: Sequence[Camera],
    pixels: Sequence[Bool[Tensor, "h w"]],
) -> _Start:
    """The one-pass lift, and nothing that depends on the view."""
    n, d = mean.shape
    if config.head == "deferred":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            head = DeferredHead(name, d, config.code, config.hidden).to(mean.device)
        head.start_at_nothing()
        # what a Gaussian is, roughly: the first numbers of its feature
        spread = mean.square().mean(0).sqrt().clamp(min=1e-12)
        code = mean.new_zeros(n, config.code)
        code[:, :d] = (mean / spread)[:, : config.code]
        return _Start(head, {name: mean, f"{name}_code": code}, {})
    if config.head == "direct" or config.degree == 0:
        return _Start(DirectHead(name), {name: mean}, {})
    k = (config.degree + 1) ** 2 - 1
    moments = Moments(mean.new_empty(n, 1), k)
    for seen, camera, counts in zip(frozen, cameras, pixels, strict=True):
        moments.add(seen.gather(counts[..., None].to(mean)), basis_of(config.degree, field.splats, camera))
    columns = {name: mean, f"{name}_dep": mean.new_zeros(n, k, d)}
    return _Start(DirectionalHead(name, config.degree), columns, {f"{name}_centre": moments.centred().centre})


@dataclass(frozen=True)
class _Lattice:
    """Every so many pixels of a picture, from `row` and `column` on."""

    row: int
    column: int
    stride: int

    def of(self, picture: Tensor) -> Tensor:
        """The chosen pixels of a picture (h w ...)."""
        return picture[self.row :: self.stride, self.column :: self.stride]

    def camera(self, camera: Camera) -> Camera:
        """The camera whose pixel centres are the chosen ones."""
        first = torch.tensor([self.column + 0.5, self.row + 0.5]).to(camera.centre_px)
        width = len(range(self.column, camera.width, self.stride))
        height = len(range(self.row, camera.height, self.stride))
        return replace(
            camera, focal_px=camera.focal_px / self.stride,
            centre_px=(camera.centre_px - first) / self.stride + 0.5, size=(width, height),
        )  # fmt: skip


class _Descent:
    """Columns and network on their way."""

    def __init__(self, field: FeatureField, name: str, start: _Start, config: DescentConfig) -> None:
        self.field, self.name, self.head, self.config = field, name, start.head, config
        self.splats, self.fixed = field.splats.detach(), start.fixed
        self.learned = {
            column: value.detach().clone().requires_grad_() for column, value in start.learned.items()
        }
        mean = start.learned[name]
        self.space: CosineSpace = field.about.cosine_space(mean.shape[1])
        size = float(mean.square().mean().sqrt().clamp(min=1e-6))
        groups = [
            {"params": [value], "rate": config.rate * (1.0 if column.endswith("_code") else size)}
            for column, value in self.learned.items()
        ]
        if isinstance(self.head, DeferredHead):
            *inner, last = self.head.network
            weights = [weight for layer in inner for weight in layer.parameters()]
            groups.append({"params": weights, "rate": config.network_rate})
            groups.append({"params": list(last.parameters()), "rate": config.network_rate * size})
        self.adam = torch.optim.Adam(groups, lr=config.rate, betas=(0.9, 0.99), eps=1e-15, fused=True)

    def set_rates(self, done: float) -> None:
        """The step sizes after this share of all steps."""
        for group in self.adam.param_groups:
            group["lr"] = group["rate"] * self.config.final_rate**done

    def step(
        self,
        seen: FrozenView,
        camera: Camera,
        chosen: _Lattice,
        counts: Bool[Tensor, "h w"],
        target: Float[Tensor, "h w d"],
    ) -> tuple[float, float]:
        """One update for the chosen pixels, `camera`'s, of one view; their summed error and weight."""
        splats = self.splats.with_columns(**self.fixed, **self.learned)
        drawn = seen.draw(self.head.splat(splats, camera))
        alpha = chosen.of(seen.alpha)
        layers = self.head.decode(chosen.of(drawn), alpha, camera)
        weight = alpha.square() * chosen.of(counts)
        error = (weight * self._difference(layers["total"], chosen.of(target))).sum()
        objective = error
        if "dep" in layers:
            objective = error + self.config.dep_weight * (weight * layers["dep"].square().mean(-1)).sum()
        self.adam.zero_grad()
        objective.backward()
        self.adam.step()
        return float(error.detach()), float(weight.sum())

    def _difference(self, shown: Float[Tensor, "h w d"], target: Float[Tensor, "h w d"]) -> Tensor:
        """How far apart features are at every pixel (h w)."""
        if self.config.loss == "mse":
            return (shown - target).square().mean(-1)
        return 1 - (self.space.units(shown) * self.space.units(target)).sum(-1)

    def result(self) -> FeatureField:
        """The field as it is now, without gradients."""
        columns = {name: value.detach() for name, value in self.learned.items()}
        return with_head(self.field, self.name, self.head.requires_grad_(False), {**columns, **self.fixed})
