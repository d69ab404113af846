"""The methods as nerfstudio's entry points find them.

An entry point that cannot be imported would break every nerfstudio command; so where something is missing here the
methods are listed all the same, and say what is missing when they are used.
"""

from dataclasses import dataclass, field

import torch
from nerfstudio.configs.base_config import MachineConfig
from nerfstudio.engine.optimizers import AdamOptimizerConfig
from nerfstudio.engine.trainer import TrainerConfig
from nerfstudio.pipelines.base_pipeline import VanillaPipelineConfig
from nerfstudio.plugins.types import MethodSpecification

NAME = "disentangled-features"


@dataclass
class MissingPipelineConfig(VanillaPipelineConfig):
    """Stands for a pipeline that cannot be imported."""

    _target: type = field(default_factory=lambda: MissingPipeline)
    reason: str = ""
    """Why."""


class MissingPipeline:
    """Raises `UnavailableError` with the reason."""

    def __init__(self, config: MissingPipelineConfig, **kwargs: object) -> None:
        from featurefields.errors import UnavailableError

        raise UnavailableError(
            f"{NAME} cannot run here: {config.reason}; install it anew: pip install 'featurefields[nerfstudio]'"
        )


def pipeline_of(**model: object) -> VanillaPipelineConfig:
    """The pipeline, with these settings of the model and, as `longest_px`, of the photos."""
    try:
        from featurefields.adapters.nerfstudio.datamanager import PhotoDatamanagerConfig
        from featurefields.adapters.nerfstudio.model import FieldModelConfig
        from featurefields.adapters.nerfstudio.pipeline import FieldPipelineConfig
    except (
        Exception
    ) as error:  # a package or library that is not there or broken, a nerfstudio that has changed
        return MissingPipelineConfig(reason=f"{type(error).__name__}: {error}")
    longest_px: object = model.pop("longest_px", None)
    return FieldPipelineConfig(
        datamanager=PhotoDatamanagerConfig(longest_px=longest_px),  # type: ignore[arg-type]
        model=FieldModelConfig(**model),  # type: ignore[arg-type]
    )


def trainer(name: str, steps: int, **model: object) -> TrainerConfig:
    """Everything that `ns-train NAME` starts from; it runs where there is no GPU, too."""
    return TrainerConfig(
        method_name=name,
        machine=MachineConfig() if torch.cuda.is_available() else MachineConfig(device_type="cpu"),
        max_num_iterations=steps,
        steps_per_save=500,
        steps_per_eval_batch=0,
        steps_per_eval_image=500,
        steps_per_eval_all_images=0,
        mixed_precision=False,
        pipeline=pipeline_of(**model),
        optimizers={"anchor": {"optimizer": AdamOptimizerConfig(lr=1e-3), "scheduler": None}},
        vis="viewer",
    )


method = MethodSpecification(
    trainer(NAME, 4000),
    "Feature fields on Gaussian splats: what things are apart from what they reflect.",
)
small_method = MethodSpecification(
    trainer(f"{NAME}-small", 2000, splats=15_000, feature_dim=16, longest_px=480),
    "The same, small enough for a CPU in minutes.",
)
