"""Training in progress: one scene a step, bit for bit resumable."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from featurefields.errors import FittingError
from featurefields.files.container import read_container, write_container
from featurefields.lifting.lifter.losses import depth_errors, losses, truth_of
from featurefields.lifting.lifter.network import Lifter, LifterConfig
from featurefields.lifting.lifter.practice import Practice, Sample, draw_sample

CHECKPOINT_KIND = "lifter-checkpoint"


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How the network is trained."""

    steps: int = 4000
    """Scenes looked at."""
    views: int = 5
    """Views of a scene that are encoded in a step."""
    references: int = 2
    """Views of them whose depth is asked for."""
    rate: float = 1e-3
    """Learning rate of AdamW, after the warm-up and before the last part of the training."""
    warm_up: int = 100
    """Steps in which the rate rises."""
    cool_down: float = 0.4
    """Last share of the steps, in which the rate falls to nothing."""
    average: float = 0.997
    """Share of the averaged weights that stays at each step; those are what is shipped."""
    half: bool = False
    """Convolve in bfloat16: about twice as fast where the processor can."""
    seed: int = 0
    """Seed of the first weights and of what is drawn."""


class Training:
    """The network, its averaged twin, the optimiser and the random numbers."""

    def __init__(
        self,
        practice: Practice,
        config: TrainingConfig,
        lifter: LifterConfig | None = None,
        *,
        device: torch.device | str = "cpu",
    ) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.lifter = Lifter(lifter).to(device)
        self.averaged = Lifter(lifter).to(device)
        self.device = torch.device(device)
        self.averaged.load_state_dict(self.lifter.state_dict())
        self.practice, self.config, self.step = practice, config, 0
        self.generator = torch.Generator().manual_seed(config.seed)
        self.optimiser = torch.optim.AdamW(
            self.lifter.parameters(), lr=config.rate, weight_decay=1e-4, betas=(0.9, 0.98)
        )

    def rate(self) -> float:
        """The learning rate of the step to come."""
        c = self.config
        rising = min(1.0, (self.step + 1) / max(1, c.warm_up))
        left = (c.steps - self.step) / max(1.0, c.cool_down * c.steps)
        return c.rate * rising * min(1.0, max(left, 0.01))

    def run_step(self) -> dict[str, float]:
        """One scene: the loss's parts and the median relative error of depth."""
        c = self.config
        index = int(torch.randint(len(self.practice), (), generator=self.generator))
        sample = draw_sample(self.practice.scene(index), c.views, self.generator).to(self.device)
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate()
        facts, total = self._losses(sample)
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.lifter.parameters(), 2.0)
        if torch.isfinite(norm):
            self.optimiser.step()
        keep = min(c.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mean, now in zip(self.averaged.parameters(), self.lifter.parameters(), strict=True):
                mean.lerp_(now, 1 - keep)
        self.step += 1
        return facts

    def _losses(self, sample: Sample) -> tuple[dict[str, float], Tensor]:
        c, views = self.config, len(sample.cameras)
        total, parts, errors = torch.zeros((), device=self.device), {}, []
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=c.half):
            posed = self.lifter.encode(sample.pictures, sample.cameras)
            count = min(c.references, views)
            for reference in range(count):
                others = [i for i in range(views) if i != reference]
                keep = 1 + int(torch.randint(len(others), (), generator=self.generator))
                keep = max(keep, min(2, len(others)))
                swept = self.lifter(
                    posed[reference], [posed[i] for i in others[:keep]], sample.near, sample.far
                )
                size = (swept.place.shape[0], swept.place.shape[1])
                truth = truth_of(self.lifter, sample.depth[reference], sample.near, sample.far, size)
                found = losses(self.lifter, swept, truth, sample.near, sample.far)
                total = total + sum(found.values()) / count
                for name, value in found.items():
                    parts[name] = parts.get(name, 0.0) + float(value.detach()) / count
                errors.append(depth_errors(self.lifter, swept, truth, sample.near, sample.far).detach())
        median = float(torch.cat(errors).median()) if sum(map(len, errors)) else float("nan")
        return {"loss": float(total.detach()), **parts, "median error": median}, total

    def save(self, path: Path) -> None:
        """Everything needed to continue bit for bit; replaces an older checkpoint atomically."""
        tensors = {f"lifter.{k}": v for k, v in self.lifter.state_dict().items()}
        tensors |= {f"averaged.{k}": v for k, v in self.averaged.state_dict().items()}
        names = [name for name, _ in self.lifter.named_parameters()]
        for name, parameter in zip(names, self.lifter.parameters(), strict=True):
            for key, value in self.optimiser.state.get(parameter, {}).items():
                tensors[f"optimiser.{name}.{key}"] = torch.as_tensor(value)
        tensors["generator"] = self.generator.get_state()
        header = {"step": self.step, "config": asdict(self.config), "lifter": asdict(self.lifter.config)}
        header |= {"scenes": len(self.practice)}
        write_container(path, tensors, header, kind=CHECKPOINT_KIND, overwrite=True)

    def load(self, path: Path) -> None:
        """Continue from a checkpoint; only the number of steps and of scenes may differ.

        Raises:
            FileFormatError: missing or damaged.
            FittingError: written with other settings.
        """
        tensors, header = read_container(path, CHECKPOINT_KIND)
        now: Mapping[str, object] = {**asdict(self.config), **asdict(self.lifter.config)}
        then = {**header["config"], **header["lifter"]}
        for key, value in now.items():
            if key != "steps" and then.get(key) != value:
                raise FittingError(
                    f"{path} was written with {key} = {then.get(key)}, now it is {value}; resume with that "
                    "or start anew without --resume"
                )
        self.lifter.load_state_dict(_part(tensors, "lifter."))
        self.averaged.load_state_dict(_part(tensors, "averaged."))
        for name, parameter in self.lifter.named_parameters():
            state = _part(tensors, f"optimiser.{name}.")
            if state:
                moments = {key: value.to(parameter) for key, value in state.items() if key != "step"}
                self.optimiser.state[parameter] = {"step": state["step"], **moments}
        self.generator.set_state(tensors["generator"])
        self.step = int(header["step"])


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: value.clone() for name, value in tensors.items() if name.startswith(prefix)}


def held_out_errors(lifter: Lifter, practice: Practice, views: int, seed: int = 0) -> list[dict[str, float]]:
    """For every scene with known depth: median and mean relative error of one view's depth, and the shares of pixels
    within 2 and 5 %."""
    measured, device = [], next(lifter.parameters()).device
    for index in range(len(practice)):
        generator = torch.Generator().manual_seed(seed)
        sample = draw_sample(practice.scene(index), views, generator, disturb=False).to(device)
        with torch.no_grad():
            posed = lifter.encode(sample.pictures, sample.cameras)
            swept = lifter(posed[0], posed[1:], sample.near, sample.far)
            size = (swept.place.shape[0], swept.place.shape[1])
            truth = truth_of(lifter, sample.depth[0], sample.near, sample.far, size)
            errors = depth_errors(lifter, swept, truth, sample.near, sample.far)
        if len(errors):
            within = {f"within {p} %": float((errors < p / 100).float().mean()) for p in (2, 5)}
            measured.append({"median": float(errors.median()), "mean": float(errors.mean()), **within})
    return measured
