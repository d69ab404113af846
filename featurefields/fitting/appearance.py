"""Stage 1: geometry and appearance from photos.

Letters: n Gaussians · h w pixels · c channels.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import exp, log
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.camera import Camera
from featurefields.fitting.densify import DensifyConfig, changed_rows
from featurefields.fitting.initialize import initial_splats
from featurefields.fitting.losses import photometric
from featurefields.fitting.optimiser import TableAdam
from featurefields.fitting.photos import Photo
from featurefields.fitting.priors import PriorWeights, Surface, priors
from featurefields.fitting.start import Start
from featurefields.heads.harmonics import HarmonicsHead
from featurefields.heads.interface import Head, Layers
from featurefields.heads.lights import LightMap
from featurefields.heads.reflected import ReflectedHead
from featurefields.heads.veil import veil
from featurefields.maths.compositing import over_alpha
from featurefields.raster import RasterConfig, Rasterizer
from featurefields.scene import Scene
from featurefields.splats import Splats


@dataclass(frozen=True, kw_only=True)
class AppearanceConfig:
    """Stage 1: geometry and colour."""

    steps: int = 4000
    """Pictures drawn and compared in all."""
    colour: Literal["reflected", "harmonics"] = "reflected"
    """Colour model: matter plus deferred reflection, or ordinary degree-3 spherical harmonics."""
    ssim_weight: float = 0.2
    """Share of the structural (D-SSIM) term in the picture loss; the rest is absolute error."""
    light: Literal["map", "network"] = "map"
    """Surroundings that reflections mirror: a picture of the sphere, or a small network."""
    walls: bool = True
    """The surroundings are as far as six learned planes; without, infinitely far."""
    near: int = 3
    """Degree of the reflections that every Gaussian has for itself; 0 leaves only those of far surroundings."""
    near_from: float = 0.35
    """Fraction of the steps before those start to learn, so that the far surroundings explain what they can first."""
    priors: PriorWeights = field(default_factory=PriorWeights)
    """What is believed about surfaces before any photo is seen."""
    unveil_at: float = 0.7
    """Fraction of the steps after which what is mirrored alike from everywhere goes from matter to the surroundings
    (see `heads.veil`); 1 leaves it where it is. Nothing is taken where reflections cost nothing."""
    half_until: float = 0.15
    """Fraction of the steps that look at the photos at half size."""
    seed: int = 0
    """Seed of everything random; the same seed gives the same result on the same machine."""
    densify: DensifyConfig = field(default_factory=DensifyConfig)
    """Where Gaussians are added."""


RATES = {
    "means": 8e-4,
    "quats": 2e-3,
    "log_scales": 8e-3,
    "opacity_logits": 4e-2,
    "columns.diffuse": 2e-2,
    "columns.tint": 4e-2,
    "columns.gloss": 4e-2,
    "columns.normals": 5e-3,
    "columns.roughness": 1e-2,
    "columns.near": 1e-2,
    "columns.near_centre": 0.0,
    "columns.harmonics": 3e-3,
    "head": 3e-3,
    "head.light.log_light": 2e-2,
    "head.background": 5e-2,
    "head.walls.duals": 2e-2,
}
"""Learning rates at the start, per step of Adam; lengths are in normalised world units."""

DECAYED_TO = {"means": 0.01}
"""What is left of a rate at the end (exponential decay); 0.1 where not named."""

RECENTRE_EVERY = 100
"""Steps after which near reflections are centred anew, because normals and places have moved."""


class AppearanceFit:
    """A fit in progress: parameters, optimiser, random state. `run_step` advances it by one picture.

    All photos are read into memory first, as 8 bits; `on_photo` is called after each. Without `start` the fit begins
    with the scene's points.
    """

    def __init__(
        self,
        scene: Scene,
        config: AppearanceConfig,
        *,
        rasterizer: Rasterizer,
        device: torch.device | str = "cpu",
        start: Start | None = None,
        on_photo: Callable[[], object] = lambda: None,
    ) -> None:
        self.config, self.rasterizer, self.device = config, rasterizer, torch.device(device)
        self.generator = torch.Generator().manual_seed(config.seed)
        self.raster_config = RasterConfig()
        photos = []
        for view in scene.split("train"):
            photos.append(Photo.of(view))
            on_photo()
        self.photos = {1: photos}
        if config.half_until > 0:
            self.photos[2] = [photo.reduced(2) for photo in photos]
        start = start or Start(*initial_splats(scene, count=config.densify.budget, generator=self.generator))
        self.head = self._make_head()
        columns = start.columns_for(self.head) or self._initial_columns(start)
        self.head.to(self.device)
        splats = start.splats.with_columns(**columns).to(self.device)
        head = {f"head.{name}": value for name, value in self.head.named_parameters() if value.requires_grad}
        tensors = {**splats.tensors(), **head}
        rates = {name: RATES.get(name, RATES["head"]) for name in tensors}
        self.adam = TableAdam(tensors, rates)
        self._restart_counts()
        self.step = 0
        self.queue: list[int] = []

    def _make_head(self) -> Head:
        if self.config.colour == "harmonics":
            return HarmonicsHead(3)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**31, (1,), generator=self.generator)))
            head = ReflectedHead(self.config.light, near=self.config.near, walls=self.config.walls)
        if head.walls is not None:
            head.walls.centre_on(torch.stack([p.camera.position for p in self.photos[1]]).mean(0))
        return head

    def _initial_columns(self, start: Start) -> dict[str, Tensor]:
        if self.config.colour == "harmonics":
            return {"harmonics": start.harmonics(3), "normals": start.normals}
        assert isinstance(self.head, ReflectedHead)
        return self.head.initial_columns(start.colours, start.normals)

    @property
    def splats(self) -> Splats:
        """The Gaussians as they are now (leaf tensors)."""
        return Splats.from_tensors(
            {k: v for k, v in self.adam.parameters.items() if not k.startswith("head.")}
        )

    def run_step(self) -> dict[str, float]:
        """Draw one photo's view, compare, update. Returns the loss and the mean absolute error."""
        photo = self._next_photo()
        splats, camera = self.splats, photo.camera.to(self.device)
        probe = torch.zeros(len(splats), 1, device=self.device, requires_grad=True)
        layers, surface, probed = self._draw(splats, camera, probe)
        target = photo.target(self.device)
        mask = None if photo.mask is None else photo.mask.to(self.device)
        loss, error = photometric(layers["total"], target, mask, ssim_weight=self.config.ssim_weight)
        loss = loss + priors(layers, surface, camera, self.config.priors, self.step / self.config.steps)
        # the probe is zero, so this adds nothing but its gradient: every Gaussian's share of the error
        (loss + (probed * error).sum()).backward()
        if probe.grad is not None:
            self._count(splats, camera, probe.grad[:, 0])
        self.step += 1
        self._set_rates()
        self.adam.step()
        if self.config.densify.due(self.step, self.config.steps):
            self._change_table()
        if self.step == round(self.config.unveil_at * self.config.steps) < self.config.steps:
            self._unveil()
        if self.step % RECENTRE_EVERY == 0 or self.step == self.config.steps:
            self._recentre()
        return {"loss": loss.item(), "error": error.mean().item(), "splats": len(self.score)}

    def _draw(
        self, splats: Splats, camera: Camera, probe: Float[Tensor, "n 1"]
    ) -> tuple[Layers, Surface, Float[Tensor, "h w"]]:
        channels = self.head.splat(splats, camera)
        depths = ((splats.means - camera.position) @ camera.forward)[:, None]
        drawn = self.rasterizer.draw(
            splats, torch.cat([channels, depths, depths.square(), probe], -1), camera, self.raster_config
        )
        pixels, depth, probed = drawn.image.split([channels.shape[-1], 2, 1], dim=-1)
        layers = self.head.decode(pixels, drawn.alpha, camera)
        mean, square = over_alpha(depth, drawn.alpha).unbind(-1)
        return layers, Surface(mean, square, drawn.alpha), probed.squeeze(-1)

    def _next_photo(self) -> Photo:
        if not self.queue:
            self.queue = torch.randperm(len(self.photos[1]), generator=self.generator).tolist()
        half = self.step < self.config.half_until * self.config.steps
        return self.photos[2 if half else 1][self.queue.pop()]

    def _set_rates(self) -> None:
        progress = min(1.0, self.step / self.config.steps)
        for name in self.adam.rates:
            start = RATES.get(name, RATES["head"])
            if name == "columns.near" and progress < self.config.near_from:
                start = 0.0
            self.adam.rates[name] = start * exp(progress * log(DECAYED_TO.get(name, 0.1)))

    def _restart_counts(self) -> None:
        n = len(self.splats)
        self.score, self.facing = torch.zeros(n, device=self.device), torch.zeros(n, device=self.device)

    @torch.no_grad()
    def _count(self, splats: Splats, camera: Camera, share: Float[Tensor, "n"]) -> None:
        """Add up every Gaussian's share of the error, and whether its normal faces those who see it."""
        self.score += share
        if "normals" in splats.columns:
            towards = camera.position - splats.means
            self.facing += share * (splats.columns["normals"] * towards).sum(-1)

    @torch.no_grad()
    def _turn_normals(self) -> None:
        """Normals that look away from the cameras that see their Gaussian are turned round: the losses cannot."""
        name = "columns.normals"
        if name in self.adam.parameters:
            sign = torch.where(self.facing < 0, -1.0, 1.0)[:, None]
            for table in (self.adam.parameters, self.adam.first):
                table[name].mul_(sign)

    @torch.no_grad()
    def _recentre(self) -> None:
        """Near reflections average to nothing over the views, so that no matter hides in them."""
        if isinstance(self.head, ReflectedHead) and self.head.near:
            positions = torch.stack([photo.camera.position for photo in self.photos[1]])
            centre = self.head.near_centre(self.splats, positions.to(self.device))
            self.adam.parameters["columns.near_centre"].copy_(centre)

    @torch.no_grad()
    def _unveil(self) -> None:
        """The even part of reflections goes from matter to the surroundings, where the prior had kept it from."""
        head = self.head
        if not isinstance(head, ReflectedHead) or not isinstance(head.light, LightMap):
            return
        if self.config.priors.distant == 0:
            return
        found = veil(head, self.splats, [photo.camera for photo in self.photos[1]])
        name = "columns.diffuse"
        self.adam.parameters[name].copy_(found.taken_off(self.adam.parameters[name]))
        head.light.brighten(found.strength)
        for moments in (self.adam.first, self.adam.second):
            moments[name].zero_()

    def _change_table(self) -> None:
        self._turn_normals()
        splats = self.splats.detach()
        keep, new = changed_rows(splats, self.score, self.config.densify, self.generator)
        self.adam.replace_rows(list(splats.tensors()), keep, new.tensors())
        self._restart_counts()

    def grow(self, count: int) -> None:
        """Split Gaussians, whatever their share of the error, until there are `count`.

        Only for finding out what steps will cost: this is no part of a fit.
        """
        config = replace(self.config.densify, growth=1.0, budget=count)
        before = 0
        while before < len(self.splats) < count:
            before = len(self.splats)
            splats = self.splats.detach()
            keep, new = changed_rows(splats, torch.ones(before, device=self.device), config, self.generator)
            self.adam.replace_rows(list(splats.tensors()), keep, new.tensors())
        self._restart_counts()

    def state(self) -> tuple[dict[str, Tensor], dict[str, object]]:
        """Tensors and JSON-able facts from which `load` continues bit for bit."""
        tensors = self.adam.state() | {
            "score": self.score,
            "facing": self.facing,
            "generator": self.generator.get_state(),
        }
        return tensors, {"step": self.step, "adam_steps": self.adam.steps, "queue": self.queue}

    def load(self, tensors: dict[str, Tensor], facts: dict) -> None:
        """Continue from a `state`."""
        self.adam.load(tensors, int(facts["adam_steps"]))
        self.score, self.facing = (tensors[name].clone().to(self.device) for name in ("score", "facing"))
        self.generator.set_state(tensors["generator"].clone())
        self.step, self.queue = int(facts["step"]), [int(i) for i in facts["queue"]]
