"""Training in progress: one step after the other, and everything a checkpoint must hold."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from featurefields.distillation.distributed import ALONE, World
from featurefields.distillation.losses import (
    CentredLoss,
    DinoHead,
    DinoLoss,
    LossName,
    RunningCentre,
    cosine_loss,
    direct_loss,
    valid_mean,
)
from featurefields.distillation.pairs import Pair, PairSampler, mixed
from featurefields.distillation.reconstruct import Reconstructor
from featurefields.distillation.schedule import one_cycle
from featurefields.distillation.seen import Seen, SeenViews
from featurefields.distillation.student import (
    Backbone,
    StudentConfig,
    follow,
    start_training,
    student_of,
    teacher_of,
)
from featurefields.distillation.targets import Target, TargetConfig, splatted_target
from featurefields.errors import FittingError
from featurefields.raster import Rasterizer
from featurefields.vision.interface import grid_of

Precision = Literal["full", "bf16", "fp16"]


@dataclass(frozen=True, kw_only=True)
class TeacherConfig:
    """How the teacher follows the student."""

    momentum: float = 0.999
    """Share of itself that the teacher keeps at every update; 1: it stays what it was (frozen)."""
    every: int = 10
    """Steps between updates."""


@dataclass(frozen=True, kw_only=True)
class DistillConfig:
    """One training."""

    steps: int = 20_000
    """Updates of the student."""
    batch: int = 4
    """Targets looked at together, in each process."""
    accumulate: int = 1
    """Batches for one update."""
    rate: float = 2e-5
    """Highest step size of Adam; it follows one cycle."""
    clip: float = 1.0
    """Longest gradient of an update."""
    loss: LossName = "cosine"
    """How tokens are compared with their targets."""
    prototypes: int = 65_536
    """Prototypes of the head with the loss dino."""
    precision: Precision = "full"
    """Numbers that the networks compute with; the weights stay in single precision."""
    student: StudentConfig = field(default_factory=StudentConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    target: TargetConfig = field(default_factory=TargetConfig)
    seed: int = 0
    """Seed of everything random."""


class Distillation:
    """A student, its teacher and an optimiser over some views. What a step draws depends on its number alone."""

    def __init__(
        self,
        backbone: Backbone,
        views: SeenViews,
        pairs: PairSampler,
        reconstruct: Reconstructor,
        rasterizer: Rasterizer,
        config: DistillConfig,
        *,
        world: World = ALONE,
        device: torch.device | str = "cpu",
    ) -> None:
        self.config, self.world, self.device = config, world, torch.device(device)
        self._views, self._pairs = views, pairs
        self._reconstruct, self._rasterizer = reconstruct, rasterizer
        generator = torch.Generator().manual_seed(mixed(config.seed, 1))
        self.student = student_of(backbone, config.student, generator)
        self.teacher = teacher_of(self.student)
        self.loss = _loss_of(config, backbone.dim)
        for model in (self.student.model, self.teacher.model, self.loss):
            model.to(self.device)
        start_training(self.student.model)
        self.trained = {
            f"{part}.{name}": parameter
            for part, model in (("student", self.student.model), ("loss", self.loss))
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
        }
        self._adam = torch.optim.Adam(self.trained.values(), lr=config.rate)
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=config.precision == "fp16")
        self.step = 0

    def run_step(self) -> dict[str, float]:
        """One update of the student, and of the teacher when it is due; returns what is worth logging.

        Raises:
            FittingError: the loss is no longer a number.
        """
        config = self.config
        rate = one_cycle(self.step, config.steps, config.rate)
        for group in self._adam.param_groups:
            group["lr"] = rate
        self._adam.zero_grad(set_to_none=True)
        total, counted = torch.zeros((), device=self.device), 0.0
        batches = self._batches(self.step)
        for number, pairs in enumerate(batches):
            coming = batches[number + 1] if number + 1 < len(batches) else self._batches(self.step + 1)[0]
            self._expect(coming)
            with torch.random.fork_rng([self.device] if self.device.type != "cpu" else []):
                torch.manual_seed(mixed(config.seed, 2, self.step, number, self.world.rank))
                loss, share = self._batch_loss(pairs)
            self._scaler.scale(loss / len(batches)).backward()
            total += loss.detach() / len(batches)
            counted += share / len(batches)
        self._update()
        told = self.world.sum(torch.stack([total, torch.tensor(counted).to(total)])) / self.world.size
        if not torch.isfinite(told[0]):
            raise FittingError(
                f"the loss is {float(told[0])} at step {self.step}; use a smaller --rate, or --precision full"
            )
        self.step += 1
        return {"loss": float(told[0]), "valid": float(told[1]), "rate": rate}

    def _update(self) -> None:
        self.world.average_gradients(self.trained.values())
        self._scaler.unscale_(self._adam)
        nn.utils.clip_grad_norm_(self.trained.values(), self.config.clip)
        self._scaler.step(self._adam)
        self._scaler.update()
        if isinstance(self.loss, RunningCentre):
            self.loss.move_centre(self.world.sum)
        due = (self.step + 1) % self.config.teacher.every == 0
        if due and self.config.teacher.momentum < 1:
            follow(self.teacher.model, self.student.model, self.config.teacher.momentum)
            if isinstance(self.loss, DinoLoss):
                follow(self.loss.teacher_head, self.loss.head, self.config.teacher.momentum)

    def _batches(self, step: int) -> list[list[Pair]]:
        """This process's share of a step's pairs: all processes together take what one would with their batches."""
        count, config = self.config.batch, self.config
        first = ((step * self.world.size + self.world.rank) * config.accumulate) * count
        return [
            [self._pairs.pair(config.seed, first + number * count + place) for place in range(count)]
            for number in range(config.accumulate)
        ]

    def _expect(self, pairs: Sequence[Pair]) -> None:
        self._views.expect(place for pair in pairs for place in (pair.target, *pair.contexts))

    def _batch_loss(self, pairs: Sequence[Pair]) -> tuple[Tensor, float]:
        """Loss of some pairs and the share of their patches that count."""
        found = [self._target(pair) for pair in pairs]
        with self._lower_precision():
            tokens = in_groups(self.student.tokens, [seen.image for seen, _ in found])
        losses, share = [], 0.0
        for token, (_, target) in zip(tokens, found, strict=True):
            each = self._each
            losses.append(valid_mean(each, token[None].float(), target.features[None], target.valid[None]))
            share += float(target.valid.float().mean()) / len(found)
        return torch.stack(losses).mean(), share

    @property
    def _each(self) -> Callable[[Tensor, Tensor], Tensor]:
        return self.loss if isinstance(self.loss, RunningCentre) else LOSSES[self.config.loss]

    @torch.no_grad()
    def _target(self, pair: Pair) -> tuple[Seen, Target]:
        target = self._views[pair.target].to(self.device)
        contexts = [self._views[place].to(self.device) for place in pair.contexts]
        with self._lower_precision():
            tokens = in_groups(self.teacher.tokens, [seen.image for seen in contexts])
        height, width = target.image.shape[-2:]
        return target, splatted_target(
            [token.float() for token in tokens], contexts, target, self._reconstruct(contexts), self._rasterizer,
            grid=grid_of((width, height), self.student.stride), config=self.config.target,
        )  # fmt: skip

    def _lower_precision(self) -> torch.autocast:
        kinds = {"bf16": torch.bfloat16, "fp16": torch.float16}
        name = self.config.precision
        return torch.autocast(self.device.type, kinds.get(name, torch.bfloat16), enabled=name in kinds)

    def state(self) -> tuple[dict[str, Tensor], dict[str, object]]:
        """Everything that changes, as tensors and as JSON-able facts; `load` is the inverse."""
        tensors = {name: parameter.detach() for name, parameter in self.trained.items()}
        tensors |= {f"teacher.{name}": one.detach() for name, one in self.teacher.model.named_parameters()}
        for name, parameter in self.trained.items():
            for key, value in self._adam.state.get(parameter, {}).items():
                tensors[f"adam.{key}.{name}"] = torch.as_tensor(value)
        if isinstance(self.loss, DinoLoss):
            head = self.loss.teacher_head.named_parameters()
            tensors |= {f"teacher-head.{name}": one.detach() for name, one in head}
        if isinstance(self.loss, RunningCentre):
            tensors["centre"] = self.loss.centre
        return tensors, {"step": self.step, "scaler": self._scaler.state_dict()}

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor], facts: Mapping[str, object]) -> None:
        """Continue from `state()`.

        Raises:
            FittingError: the tensors are not those of this student.
        """
        places: dict[str, Tensor] = dict(self.trained)
        places |= {f"teacher.{name}": one for name, one in self.teacher.model.named_parameters()}
        if isinstance(self.loss, DinoLoss):
            head = self.loss.teacher_head.named_parameters()
            places |= {f"teacher-head.{name}": one for name, one in head}
        if isinstance(self.loss, RunningCentre):
            places["centre"] = self.loss.centre
        for name, place in places.items():
            if name not in tensors or tensors[name].shape != place.shape:
                raise FittingError(f"the checkpoint does not fit: '{name}' is missing or of another shape")
            place.copy_(tensors[name])
        for name, parameter in self.trained.items():
            saved = {
                key: tensors[f"adam.{key}.{name}"] for key in ("step", "exp_avg", "exp_avg_sq")
                if f"adam.{key}.{name}" in tensors
            }  # fmt: skip
            if saved:
                moved = {key: one if key == "step" else one.to(parameter) for key, one in saved.items()}
                self._adam.state[parameter] = moved
        scaler = facts.get("scaler")
        if isinstance(scaler, dict) and scaler:
            self._scaler.load_state_dict(scaler)
        self.step = int(str(facts["step"]))


LOSSES = {"cosine": cosine_loss, "direct": direct_loss}


def in_groups(network: Callable[[Tensor], Tensor], images: Sequence[Tensor]) -> list[Tensor]:
    """`network` of every image (3 h w), those of one size together; in the order given."""
    found: dict[int, Tensor] = {}
    for size in {image.shape for image in images}:
        places = [place for place, image in enumerate(images) if image.shape == size]
        made = network(torch.stack([images[place] for place in places]))
        found |= dict(zip(places, made, strict=True))
    return [found[place] for place in range(len(images))]


def _loss_of(config: DistillConfig, dim: int) -> nn.Module:
    """What of the loss changes as it trains; empty where nothing does."""
    if config.loss == "centred":
        return CentredLoss(dim)
    if config.loss != "dino":
        return nn.Module()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(mixed(config.seed, 3))
        return DinoLoss(DinoHead(dim, prototypes=config.prototypes))
