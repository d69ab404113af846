"""The model that nerfstudio's commands see: a field, and the run that makes it.

It is a `SplatfactoModel` by name, because `ns-export gaussian-splat` and the viewer ask for one; nothing of that class
is used. Letters: n Gaussians · h w pixels.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import torch
from jaxtyping import Float
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.data.scene_box import OrientedBox
from nerfstudio.models.base_model import ModelConfig
from nerfstudio.models.splatfacto import SplatfactoModel
from torch import Tensor, nn

from featurefields.adapters.nerfstudio.cameras import camera_of
from featurefields.adapters.nerfstudio.outputs import SIMILARITY, Display
from featurefields.adapters.nerfstudio.panel import Panel
from featurefields.adapters.nerfstudio.run import Run, field_in, nerfstudio_frame, part
from featurefields.editing.baking import bake_harmonics
from featurefields.evaluation.metrics import psnr, ssim
from featurefields.field import FeatureField
from featurefields.maths.harmonics import CONSTANT
from featurefields.maths.similarity import Similarity
from featurefields.raster import Rasterizer, choose_rasterizer
from featurefields.splats import Splats

STATE = "run."
"""Beginning of the names of our tensors in nerfstudio's checkpoints."""
COLOURS = ("shs_0", "shs_rest", "features_dc", "features_rest", "colors")
"""Properties that need the colours baked."""


@dataclass
class FieldModelConfig(ModelConfig):
    """What is fitted and lifted, as `ff fit` names it."""

    _target: type = field(default_factory=lambda: FieldModel)
    enable_collider: bool = False
    """Not used: splats need no sampling along rays."""
    splats: int = 50_000
    """Most Gaussians there will be."""
    colour: Literal["reflected", "harmonics"] = "reflected"
    """Colour model: matter plus reflections, or ordinary spherical harmonics."""
    light: Literal["map", "network"] = "map"
    """What reflections mirror: one picture of the surroundings, or a small network."""
    walls: bool = True
    """The mirrored surroundings are as far as six learned planes; without, infinitely far."""
    near: Literal[0, 1, 2, 3] = 3
    """Degree of the reflections that every Gaussian has for itself; 0 leaves only those of far surroundings."""
    features: str = "auto"
    """Extractor of stage 2: classical, dinov2, transformers:FOLDER, onnx:FILE, none; auto is dinov2 where its weights
    can be had and classical elsewhere."""
    feature_dim: int = 32
    """Dimensions that features are stored in (principal components, exactly invertible)."""
    solver: Literal["uplift", "least-squares", "sgd"] = "uplift"
    """How features are lifted."""
    indep_from: Literal["matter", "photos"] = "matter"
    """What view-independent features are lifted from: pictures without reflections, or the photos."""
    degree: Literal[0, 1, 2, 3] = 1
    """Degree of the harmonics that view-dependent features follow; 0 leaves them out."""
    backend: str = "auto"
    """What draws: cpu, gsplat or reference; auto takes gsplat on a CUDA device and cpu elsewhere."""
    seed: int = 0
    """Seed of everything random."""
    sh_degree: Literal[0, 1, 2, 3] = 3
    """Degree of the spherical harmonics that `ns-export gaussian-splat` bakes the colours into."""


class FieldModel(SplatfactoModel):
    """A field in nerfstudio's hands.

    While training there is a `run`, and the field is the run's; otherwise it is that of a checkpoint. Everything that
    nerfstudio reads of a splat model (`means`, `shs_0`, …) is in the frame of its own world.
    """

    config: FieldModelConfig  # type: ignore[assignment]

    def populate_modules(self) -> None:
        """A parameter that nerfstudio's optimiser may step, and the viewer's controls."""
        self.anchor = nn.Parameter(torch.zeros(1))
        self.crop_box: OrientedBox | None = None
        self.background_color = torch.zeros(3)
        self.run: Run | None = None
        self.loaded: FeatureField | None = None
        self.selecting = Panel(lambda: self.made, lambda: self.rasterizer, lambda: self.world_from_nerfstudio)

    @cached_property
    def rasterizer(self) -> Rasterizer:
        return choose_rasterizer(self.config.backend, self.device)

    @property
    def made(self) -> FeatureField | None:
        """The field as it is: the run's, or the checkpoint's; None before either."""
        return self.run.field if self.run is not None else self.loaded

    @cached_property
    def world_from_nerfstudio(self) -> Similarity:
        assert self.made is not None, "asked for after a run began or a checkpoint was loaded"
        return nerfstudio_frame(self.made)

    def begin(self, run: Run) -> None:
        """Train from now on."""
        self.run = run
        self.forget()

    def forget(self) -> None:
        """What was derived from the field is derived anew when it is asked for."""
        for name in ("display", "moved", "baked", *COLOURS, "world_from_nerfstudio"):
            self.__dict__.pop(name, None)

    # What is drawn

    @cached_property
    def display(self) -> Display:
        shown = self.selecting.shown
        assert shown is not None
        return Display.of(shown)

    def get_outputs(self, camera: Cameras) -> dict[str, Tensor]:  # type: ignore[override]
        """Every layer of the field at a camera, see `Display.outputs`; nothing at all before there is a field."""
        size = int(camera.height.reshape(-1)[0]), int(camera.width.reshape(-1)[0])
        if self.made is None:
            return self.empty(size)
        view = camera_of(camera, self.world_from_nerfstudio)
        back = self.world_from_nerfstudio.inverse
        self._keep_up()
        return self.display.outputs(
            view, self.rasterizer, back, selection=self.selecting.selection, within=self._cropped()
        )

    @torch.no_grad()
    def get_outputs_for_camera(  # type: ignore[override]
        self, camera: Cameras, obb_box: OrientedBox | None = None
    ) -> dict[str, Tensor]:
        """The same inside of a box."""
        self.set_crop(obb_box)
        return self.get_outputs(camera)

    def _keep_up(self) -> None:
        """Drop what was derived from a field that has changed since."""
        now = (self.run.fit.step, self.run.done) if self.run is not None else None
        stamp = (now, self.selecting.version)
        if self.__dict__.get("_stamp") != stamp:
            self.forget()
            self.__dict__["_stamp"] = stamp

    def _cropped(self) -> Tensor | None:
        if self.crop_box is None:
            return None
        means = self.world_from_nerfstudio.inverse.points(self.display.field.splats.means)
        return self.crop_box.within(means)

    def empty(self, size: tuple[int, int]) -> dict[str, Tensor]:
        """The pictures that are always there, black."""
        height, width = size
        channels = {"rgb": 3, "depth": 1, "accumulation": 1, SIMILARITY: 1}
        return {name: torch.zeros(height, width, c, device=self.device) for name, c in channels.items()}

    # What is measured

    def get_metrics_dict(self, outputs: Mapping[str, Tensor], batch: Mapping[str, Any]) -> dict[str, Any]:
        """PSNR in dB and the number of splats."""
        return {"psnr": self._compared(outputs, batch)["psnr"], "splats": float(self.num_points)}

    def get_loss_dict(
        self, outputs: Mapping[str, Tensor], batch: Mapping[str, Any], metrics_dict: Any = None
    ) -> dict[str, Tensor]:
        """The mean absolute error of a picture; training has its own loss, see `Run`."""
        image, mask = _truth(batch)
        error = (outputs["rgb"].cpu() - image).abs().mean(-1)
        return {"error": (error if mask is None else error[mask]).mean()}

    def get_image_metrics_and_images(
        self, outputs: Mapping[str, Tensor], batch: Mapping[str, Any]
    ) -> tuple[dict[str, float], dict[str, Tensor]]:
        """PSNR (dB) and SSIM over the pixels that count, and photo and drawing side by side."""
        image, _ = _truth(batch)
        side_by_side = torch.cat([image, outputs["rgb"].cpu()], dim=1)
        return self._compared(outputs, batch), {"img": side_by_side}

    def _compared(self, outputs: Mapping[str, Tensor], batch: Mapping[str, Any]) -> dict[str, float]:
        image, mask = _truth(batch)
        drawn = outputs["rgb"].detach().cpu()
        return {"psnr": psnr(drawn, image, mask), "ssim": ssim(drawn, image, mask)}

    # What is kept

    def get_param_groups(self) -> dict[str, list[nn.Parameter]]:
        """One that does nothing: the fit steps its own parameters, whose number changes."""
        return {"anchor": [self.anchor]}

    def get_gaussian_param_groups(self) -> dict[str, list[nn.Parameter]]:
        return self.get_param_groups()

    def get_training_callbacks(self, training_callback_attributes: object) -> list:  # type: ignore[override]
        """None: see `FieldPipeline`."""
        return []

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        state = self.run.state() if self.run is not None else {}
        destination.update({f"{prefix}{STATE}{name}": tensor for name, tensor in state.items()})

    def load_state_dict(self, state_dict: Mapping[str, Any], **kwargs: object) -> None:  # type: ignore[override]
        """The field of a checkpoint; while training, the run goes on from it.

        Raises:
            FileFormatError: it is a checkpoint of another method.
            FittingError: training, and it was written for other photos.
        """
        state = part(state_dict, STATE)
        if self.run is not None:
            self.run.load(state)
        else:
            self.loaded = field_in(state).to(self.device)
            for head in self.loaded.heads.values():
                head.eval().requires_grad_(False)
        self.selecting.reset()
        self.forget()

    # What ns-export and the viewer read of a splat model

    @cached_property
    def moved(self) -> FeatureField | None:
        """The field in nerfstudio's world."""
        shown = self.selecting.shown
        return None if shown is None else shown.moved(self.world_from_nerfstudio.inverse)

    @cached_property
    def baked(self) -> Splats:
        """The field's Gaussians with spherical harmonics, in nerfstudio's world."""
        assert self.moved is not None
        with torch.no_grad():
            return bake_harmonics(self.moved, self.config.sh_degree)

    @property
    def means(self) -> Float[Tensor, "n 3"]:
        self._keep_up()
        return torch.zeros(0, 3) if self.moved is None else self.moved.splats.means.detach()

    @property
    def num_points(self) -> int:
        return 0 if self.made is None else len(self.made)

    @property
    def quats(self) -> Float[Tensor, "n 4"]:
        return torch.zeros(0, 4) if self.moved is None else self.moved.splats.quats.detach()

    @property
    def scales(self) -> Float[Tensor, "n 3"]:
        """Logarithms, as nerfstudio keeps them."""
        return torch.zeros(0, 3) if self.moved is None else self.moved.splats.log_scales.detach()

    @property
    def opacities(self) -> Float[Tensor, "n 1"]:
        """Logits, as nerfstudio keeps them."""
        return torch.zeros(0, 1) if self.moved is None else self.moved.splats.opacity_logits.detach()[:, None]

    @cached_property
    def shs_0(self) -> Float[Tensor, "n 3"]:
        return self.baked.columns["harmonics"][:, 0]

    @cached_property
    def shs_rest(self) -> Float[Tensor, "n k 3"]:
        return self.baked.columns["harmonics"][:, 1:]

    @cached_property
    def colors(self) -> Float[Tensor, "n 3"]:
        return (self.shs_0 * CONSTANT + 0.5).clamp(0, 1)

    @cached_property
    def features_dc(self) -> Float[Tensor, "n 3"]:
        return self.shs_0

    @cached_property
    def features_rest(self) -> Float[Tensor, "n k 3"]:
        return self.shs_rest


def _truth(batch: Mapping[str, Any]) -> tuple[Tensor, Tensor | None]:
    mask = batch.get("mask")
    return batch["image"].cpu(), None if mask is None else mask[..., 0].cpu()
