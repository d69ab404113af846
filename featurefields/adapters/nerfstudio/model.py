"""The model that nerfstudio's commands see: a field, and the run that makes it.

Letters: n Gaussians · h w pixels.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import torch
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.data.scene_box import OrientedBox
from nerfstudio.models.base_model import ModelConfig
from nerfstudio.viewer import render_state_machine
from torch import Tensor, nn

from featurefields.adapters.nerfstudio.cameras import camera_of
from featurefields.adapters.nerfstudio.comparison import compared, truth
from featurefields.adapters.nerfstudio.editor import Editor
from featurefields.adapters.nerfstudio.ordinary import OrdinarySplats
from featurefields.adapters.nerfstudio.outputs import SIMILARITY, Display
from featurefields.adapters.nerfstudio.panel import Panel
from featurefields.adapters.nerfstudio.run import Run, field_in, nerfstudio_frame, part
from featurefields.field import FeatureField
from featurefields.maths.similarity import Similarity
from featurefields.raster import Rasterizer, choose_rasterizer

STATE = "run."
"""Beginning of the names of our tensors in nerfstudio's checkpoints."""
DERIVED = ("display", "moved_field", "world_from_nerfstudio")
"""What is derived from the field and kept until it changes."""
INTERRUPTED = render_state_machine.viewer_utils.IOChangeException
"""What nerfstudio raises inside of a drawing that nobody waits for any more."""


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
    unveil: bool = True
    """Late in stage 1, what is mirrored alike from everywhere goes from matter to the surroundings."""
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


class FieldModel(OrdinarySplats):
    """A field in nerfstudio's hands.

    While training there is a `run`, and the field is the run's; otherwise it is that of a checkpoint.
    """

    config: FieldModelConfig  # type: ignore[assignment]

    def populate_modules(self) -> None:
        """A parameter that nerfstudio's optimiser may step, and the viewer's controls."""
        self.anchor = nn.Parameter(torch.zeros(1))
        self.crop_box: OrientedBox | None = None
        self.background_color = torch.zeros(3)
        self.run: Run | None = None
        self.loaded: FeatureField | None = None
        self.editor = Editor(lambda: self.made, lambda: self.rasterizer)
        self.selecting = Panel(self.editor, lambda: self.world_from_nerfstudio)
        self.channels = {"rgb": 3, "depth": 1, "accumulation": 1, SIMILARITY: 1}

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
        super().forget()
        for name in DERIVED:
            self.__dict__.pop(name, None)

    # What is drawn

    @cached_property
    def display(self) -> Display:
        assert self.editor.shown is not None, "there is no field yet"
        return Display.of(self.editor.shown)

    @property
    def num_points(self) -> int:
        return 0 if self.made is None else len(self.made)

    @property
    def moved(self) -> FeatureField | None:
        self._keep_up()
        return self.moved_field

    @cached_property
    def moved_field(self) -> FeatureField | None:
        """`moved`, once it is up to date."""
        shown = self.editor.shown
        return None if shown is None else shown.moved(self.world_from_nerfstudio.inverse)

    def get_outputs(self, camera: Cameras) -> dict[str, Tensor]:  # type: ignore[override]
        """Every layer of the field at a camera, see `Display.outputs`; nothing at all before there is a field."""
        size = int(camera.height.reshape(-1)[0]), int(camera.width.reshape(-1)[0])
        if self.made is None:
            return self.empty(size)
        view = camera_of(camera, self.world_from_nerfstudio)
        back = self.world_from_nerfstudio.inverse
        self._keep_up()
        found = self.display.outputs(
            view, self.rasterizer, back, selection=self.editor.selection, within=self._cropped()
        )
        self.channels = {name: layer.shape[-1] for name, layer in found.items()}
        return found

    @torch.no_grad()
    def get_outputs_for_camera(  # type: ignore[override]
        self, camera: Cameras, obb_box: OrientedBox | None = None
    ) -> dict[str, Tensor]:
        """The same inside of a box.

        The viewer asks in threads of its own, which an exception would end for good: there what goes wrong is told in
        the panel, and the pictures are black.
        """
        try:
            self.set_crop(obb_box)
            return self.get_outputs(camera)
        except INTERRUPTED:
            raise
        except Exception as error:
            if threading.current_thread() is threading.main_thread():
                raise
            self.selecting.tell_failure(error)
            return self.empty((int(camera.height.reshape(-1)[0]), int(camera.width.reshape(-1)[0])))

    def _keep_up(self) -> None:
        """Drop what was derived from a field that has changed since."""
        now = (self.run.fit.step, self.run.done) if self.run is not None else None
        stamp = (now, self.editor.version)
        if self.__dict__.get("_stamp") != stamp:
            self.forget()
            self.__dict__["_stamp"] = stamp

    def _cropped(self) -> Tensor | None:
        if self.crop_box is None:
            return None
        means = self.world_from_nerfstudio.inverse.points(self.display.field.splats.means)
        return self.crop_box.within(means)

    def empty(self, size: tuple[int, int]) -> dict[str, Tensor]:
        """The pictures that were there last, black."""
        height, width = size
        return {name: torch.zeros(height, width, c, device=self.device) for name, c in self.channels.items()}

    # What is measured

    def get_metrics_dict(self, outputs: Mapping[str, Tensor], batch: Mapping[str, Any]) -> dict[str, Any]:
        """PSNR in dB and the number of splats."""
        return {"psnr": compared(outputs, batch)["psnr"], "splats": float(self.num_points)}

    def get_loss_dict(
        self, outputs: Mapping[str, Tensor], batch: Mapping[str, Any], metrics_dict: Any = None
    ) -> dict[str, Tensor]:
        """The mean absolute error of a picture; training has its own loss, see `Run`."""
        image, mask = truth(batch)
        error = (outputs["rgb"].cpu() - image).abs().mean(-1)
        return {"error": (error if mask is None else error[mask]).mean()}

    def get_image_metrics_and_images(
        self, outputs: Mapping[str, Tensor], batch: Mapping[str, Any]
    ) -> tuple[dict[str, float], dict[str, Tensor]]:
        """PSNR (dB) and SSIM over the pixels that count, and photo and drawing side by side."""
        image, _ = truth(batch)
        side_by_side = torch.cat([image, outputs["rgb"].cpu()], dim=1)
        return compared(outputs, batch), {"img": side_by_side}

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
        self.editor.reset()
        self.forget()
