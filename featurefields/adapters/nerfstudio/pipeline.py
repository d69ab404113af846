"""nerfstudio's pipeline around a `Run`: its training steps are the run's."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from nerfstudio.engine.callbacks import (
    TrainingCallback,
    TrainingCallbackAttributes,
    TrainingCallbackLocation,
)
from nerfstudio.pipelines.base_pipeline import VanillaPipeline, VanillaPipelineConfig
from nerfstudio.utils.rich_utils import CONSOLE
from torch.cuda.amp.grad_scaler import GradScaler

from featurefields.adapters.nerfstudio.datamanager import PhotoDatamanager, PhotoDatamanagerConfig
from featurefields.adapters.nerfstudio.model import FieldModel, FieldModelConfig
from featurefields.adapters.nerfstudio.run import Run, Stages, frame_note
from featurefields.errors import FittingError, SceneError
from featurefields.files.archive import FILE_NAME, write_archive
from featurefields.fitting.appearance import AppearanceConfig
from featurefields.fitting.densify import DensifyConfig
from featurefields.lifting.stage import LiftingConfig


@dataclass
class FieldPipelineConfig(VanillaPipelineConfig):
    """Photos and field."""

    _target: type = field(default_factory=lambda: FieldPipeline)
    datamanager: PhotoDatamanagerConfig = field(default_factory=PhotoDatamanagerConfig)
    model: FieldModelConfig = field(default_factory=FieldModelConfig)


class FieldPipeline(VanillaPipeline):
    """Trains by stepping a `Run`; writes the field's archive beside config.yml at the end."""

    config: FieldPipelineConfig
    datamanager: PhotoDatamanager
    model: FieldModel  # type: ignore[assignment]

    def __init__(
        self,
        config: FieldPipelineConfig,
        device: str,
        test_mode: Literal["test", "val", "inference"] = "val",
        world_size: int = 1,
        local_rank: int = 0,
        grad_scaler: GradScaler | None = None,
    ) -> None:
        if world_size > 1:
            raise FittingError(
                f"{world_size} GPUs were asked for; this method trains on one: leave out --machine.num-devices"
            )
        super().__init__(config, device, test_mode, world_size, local_rank, grad_scaler)
        self._trainer: Any = None
        if test_mode == "val":
            self.model.begin(self._new_run(device))

    def _new_run(self, device: str) -> Run:
        photos, model = self.datamanager.photos, self.config.model
        notes: dict[str, object] = {
            "downscale": photos.downscale,
            "kind": photos.kind or "nerfstudio",
            "world_from_nerfstudio": frame_note(photos.world_from_nerfstudio),
        }
        stages = Stages(
            appearance=AppearanceConfig(
                colour=model.colour,
                light=model.light,
                walls=model.walls,
                unveil_at=AppearanceConfig.unveil_at if model.unveil else 1.0,
                near=model.near,
                seed=model.seed,
                densify=DensifyConfig(budget=model.splats),
            ),
            lifting=LiftingConfig(
                dim=model.feature_dim,
                solver=model.solver,
                indep_from=model.indep_from,
                degree=model.degree,
                seed=model.seed,
            ),
            features=model.features,
            notes=notes,
        )
        return Run(
            photos.scene,
            stages,
            self.model.rasterizer,
            device,
            progress=_lines,
            tell=lambda line: CONSOLE.log(line),
        )

    def get_train_loss_dict(self, step: int) -> tuple[dict, dict[str, torch.Tensor], dict[str, Any]]:
        """One step of the run. The loss that nerfstudio propagates reaches only a parameter that does nothing."""
        run = self.model.run
        assert run is not None, "training has begun"
        facts = run.told if run.done else run.step()
        if run.done and self._trainer is not None:
            self._trainer.stop_training = True
        loss = self.model.anchor.sum() * 0.0 + facts["loss"]
        return {}, {"loss": loss}, {"error": facts["error"], "splats": facts["splats"]}

    def get_training_callbacks(
        self, training_callback_attributes: TrainingCallbackAttributes
    ) -> list[TrainingCallback]:
        """The length of the run is the trainer's; when training ends, the archive is written."""
        self._trainer = training_callback_attributes.trainer
        run = self.model.run
        if self._trainer is None or run is None:
            return []
        run.schedule(int(self._trainer.config.max_num_iterations))
        return [
            TrainingCallback([TrainingCallbackLocation.AFTER_TRAIN], lambda step: self.write_archive()),
        ]

    def get_average_eval_image_metrics(self, *arguments: Any, **named: Any) -> dict[str, float]:
        """As nerfstudio averages them. Raises `SceneError` when there is nothing to measure with."""
        if len(self.datamanager.eval_dataset) == 0:
            raise SceneError(
                "no photo is held out: the data parser's test split holds none that was not fitted to; hold some out "
                "in the data set, or measure with another one"
            )
        return super().get_average_eval_image_metrics(*arguments, **named)

    def write_archive(self) -> Path:
        """Write the field as it is to field.safetensors beside config.yml."""
        run = self.model.run
        assert run is not None and self._trainer is not None
        if not run.done:
            CONSOLE.print(
                f"[bold yellow]stopped at step {run.fit.step} of {run.fit.config.steps}: the field has no features "
                "yet; go on with --load-dir"
            )
        path = write_archive(run.field, Path(self._trainer.base_dir) / FILE_NAME, overwrite=True)
        CONSOLE.print(f"Feature field: {path}", markup=False)
        return path


@contextmanager
def _lines(title: str, total: int | None = None) -> Iterator[Callable[..., None]]:
    """A `Progress` that tells when something begins: nerfstudio has the terminal's lines."""
    CONSOLE.log(f"{title} ({total})" if total else title)
    yield lambda n=1, **facts: None
