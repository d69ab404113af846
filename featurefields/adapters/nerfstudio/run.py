"""One run: stage 1 step by step, then stage 2, and its field at any time. Knows nothing of nerfstudio.

Letters: n Gaussians.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from featurefields.errors import FileFormatError, FittingError, UnavailableError
from featurefields.field import FeatureField
from featurefields.files.archive import packed, unpacked
from featurefields.fitting.appearance import AppearanceConfig, AppearanceFit
from featurefields.fitting.loop import about_fit, identity_of
from featurefields.foreign_json import parsed
from featurefields.lifting.stage import LiftingConfig, Progress, lift_features, silent
from featurefields.maths.similarity import Similarity
from featurefields.raster import Rasterizer
from featurefields.scene import Scene
from featurefields.vision.interface import Extractor
from featurefields.vision.select import choose_extractor

Tell = Callable[[str], object]
FACTS = "facts"
"""Name of the tensor that holds what is no tensor, as the bytes of JSON."""


@dataclass(frozen=True)
class Stages:
    """What a run does.

    Attributes:
        appearance: stage 1; its `steps` are those of the run.
        lifting: stage 2.
        features: name of the extractor; "auto" is dinov2 where its weights can be had and classical elsewhere, "none"
            leaves stage 2 out.
        notes: what the field remembers about its photos.
    """

    appearance: AppearanceConfig
    lifting: LiftingConfig
    features: str
    notes: Mapping[str, object]


class Run:
    """Photos to a field.

    `step` fits one picture; the last one also lifts the features. `scene`'s photos are read at once.

    Raises:
        UnknownNameError, UnavailableError: there is no such extractor, or it cannot be used; told before any work.
    """

    def __init__(
        self,
        scene: Scene,
        stages: Stages,
        rasterizer: Rasterizer,
        device: torch.device | str,
        *,
        progress: Progress = silent,
        tell: Tell = lambda line: None,
    ) -> None:
        self.scene, self.stages, self.rasterizer = scene, stages, rasterizer
        self.device, self.progress, self.tell = torch.device(device), progress, tell
        self.extractor = extractor_or_next_best(stages.features, self.device, tell)
        with progress("reading photos", len(scene.split("train"))) as advance:
            self.fit = AppearanceFit(
                scene, stages.appearance, rasterizer=rasterizer, device=device, on_photo=lambda: advance(1)
            )
        self.lifted: FeatureField | None = None
        self.told = {"loss": 0.0, "error": 0.0, "splats": float(len(self.fit.splats))}

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        return self.fitted and (self.extractor is None or self.lifted is not None)

    @property
    def fitted(self) -> bool:
        """Whether stage 1 is at its end."""
        return self.fit.step >= self.fit.config.steps

    @property
    def field(self) -> FeatureField:
        """The field as it is now, on the run's device; during stage 1 it shares memory with the fit."""
        if self.lifted is not None:
            return self.lifted
        about = about_fit(self.fit, self.scene, self.stages.notes)
        return FeatureField(self.fit.splats.detach(), {"rgb": self.fit.head}, about)

    def schedule(self, steps: int) -> None:
        """Spread stage 1 over so many steps, if it has not begun."""
        if self.fit.step == 0:
            self.fit.config = replace(self.fit.config, steps=steps)

    def step(self) -> dict[str, float]:
        """One picture; after the last one, the features. Loss, mean absolute error and number of splats."""
        if not self.fitted:
            self.told = self.fit.run_step()
        if self.fitted:
            self.lift()
        return self.told

    def lift(self) -> None:
        """Stage 2, on what stage 1 has come to."""
        if self.extractor is None or self.lifted is not None:
            return
        self.tell("stage 2: features of the photos and of matter are extracted and lifted onto the splats")
        self.fit.head.eval().requires_grad_(False)
        self.lifted = lift_features(
            self.field, self.scene.split("train"), self.extractor, self.rasterizer, self.stages.lifting,
            progress=self.progress, note=self.tell,
        )  # fmt: skip

    def state(self) -> dict[str, Tensor]:
        """Tensors from which `load` goes on: the field, and the fit while it is not at its end."""
        tensors, header = packed(self.field)
        facts: dict[str, Any] = {"field": header, "fit": None}
        found = {f"field.{name}": tensor for name, tensor in tensors.items()}
        if not self.done:
            fit, where = self.fit.state()
            facts["fit"] = {"where": where, "steps": self.fit.config.steps, "photos": self._photos()}
            found |= {f"fit.{name}": tensor for name, tensor in fit.items()}
        return {name: tensor.detach().cpu() for name, tensor in found.items()} | {FACTS: text_tensor(facts)}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a `state`; a finished one has nothing left to do.

        Raises:
            FileFormatError: it is none.
            FittingError: it is of other photos or poses.
        """
        facts = facts_in(state)["fit"]
        if facts is None:
            self.lifted = field_in(state).to(self.device)
            steps = int(self.lifted.about.notes.get("steps", self.fit.config.steps))  # type: ignore[arg-type]
            self.fit.step, self.fit.config = steps, replace(self.fit.config, steps=steps)
            return
        if facts["photos"] != self._photos():
            raise FittingError(
                f"the checkpoint was written for other photos or poses than those of '{self.scene.name}'; train anew"
            )
        self.fit.config = replace(self.fit.config, steps=int(facts["steps"]))
        self.fit.load(part(state, "fit."), facts["where"])

    def _photos(self) -> object:
        return identity_of(self.scene, self.fit.config)["views"]


def extractor_or_next_best(name: str, device: torch.device, tell: Tell) -> Extractor | None:
    """The extractor called so, None for "none"; "auto" falls back to the one without weights, telling why."""
    if name == "none":
        return None
    if name != "auto":
        return choose_extractor(name, device=device)
    try:
        return choose_extractor("dinov2", device=device)
    except UnavailableError as error:
        tell(f"{error} — going on with the classical features, which need no weights")
        return choose_extractor("classical", device=device)


def field_in(state: Mapping[str, Tensor]) -> FeatureField:
    """The field of a `Run.state`, on the CPU. Raises `FileFormatError` when it holds none."""
    return unpacked(part(state, "field."), facts_in(state)["field"], "the checkpoint")


def part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin so, without the beginning."""
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def text_tensor(content: object) -> Tensor:
    """JSON-able content as bytes."""
    return torch.frombuffer(bytearray(json.dumps(content).encode()), dtype=torch.uint8)


def facts_in(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """What `text_tensor` wrote. Raises `FileFormatError` when nothing did."""
    try:
        return parsed(bytes(state[FACTS].cpu().numpy()))
    except (KeyError, ValueError) as error:
        raise FileFormatError(
            f"the checkpoint holds no field of this method ({type(error).__name__}: {error}); train again"
        ) from error


def nerfstudio_frame(field: FeatureField) -> Similarity:
    """world_from_nerfstudio that a field remembers. Raises `FileFormatError` when it does not."""
    try:
        told: Any = field.about.notes["world_from_nerfstudio"]
        return Similarity(
            float(told["scale"]),
            torch.tensor(told["rotation"], dtype=torch.float64).reshape(3, 3),
            torch.tensor(told["translation"], dtype=torch.float64).reshape(3),
        )
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise FileFormatError(
            f"the field does not say where nerfstudio's world lies ({type(error).__name__}); train it with ns-train"
        ) from error


def frame_note(world_from_nerfstudio: Similarity) -> dict[str, object]:
    """The inverse of `nerfstudio_frame`: a note to remember."""
    return {
        "scale": float(world_from_nerfstudio.scale),
        "rotation": world_from_nerfstudio.rotation.tolist(),
        "translation": world_from_nerfstudio.translation.tolist(),
    }
