"""Any vision transformer with patch tokens from the transformers library, and loading of any backbone.

Letters: b batch · h w pixels · hp wp patches · d feature dimension.

DINOv2 (with or without registers), DINOv3, ViT, DeiT, and the vision towers of CLIP and SigLIP: the last
hidden state, without the class and register tokens in front, laid out as a grid row by row.
"""

import inspect
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from featurefields.errors import FileFormatError, UnavailableError
from featurefields.foreign_json import parsed
from featurefields.vision.convolutional_backbone import ConvolutionalBackbone
from featurefields.vision.fingerprints import IMAGENET_MEAN, IMAGENET_STD, is_pooled, weights_digest
from featurefields.vision.hub import weights_folder
from featurefields.vision.interface import fit_to_stride

_CLASS_TOKENS = {"cls_token", "class_embedding"}
"""What the weight of the class token is called."""
_SETTINGS = ("preprocessor_config.json", "processor_config.json")


class TransformersBackbone:
    """An extractor around a transformers model; `model` may go on being trained through `tokens`.

    The fingerprint identifies the weights at the time this object was made.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        mean: tuple[float, float, float] = IMAGENET_MEAN,
        std: tuple[float, float, float] = IMAGENET_STD,
    ) -> None:
        """Wrap `model`, whose images are normalised with `mean` and `std` (sRGB in 0..1).

        Raises:
            FileFormatError: the model has no square patches, so it has no patch tokens to use.
        """
        config: Any = model.config
        self.model = model.eval()
        self.dim, self.stride = _layout(config)
        self.mean, self.std = mean, std
        self._registers = int(getattr(config, "num_register_tokens", 0) or 0)
        accepted = inspect.signature(model.forward).parameters
        self._options = {"interpolate_pos_encoding": True} if "interpolate_pos_encoding" in accepted else {}
        self.fingerprint = f"transformers:{config.model_type}@{weights_digest(model, mean, std)}"

    @torch.no_grad()
    def __call__(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d hp wp"]:
        """Patch features of the images, on their device."""
        return self.tokens(images.float()).to(images.device)

    def tokens(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d hp wp"]:
        """The same, differentiable in the model's weights and on the model's device.

        Raises:
            FileFormatError: the model's output is not one token a patch after the class and register tokens.
        """
        return self.tokens_and_class(images)[0]

    @property
    def has_class_token(self) -> bool:
        """Whether the model has a token for the whole image."""
        names = (name.rpartition(".")[2] for name in self.model.state_dict())
        return not _CLASS_TOKENS.isdisjoint(names)

    def tokens_and_class(
        self, images: Float[Tensor, "b 3 h w"]
    ) -> tuple[Float[Tensor, "b d hp wp"], Float[Tensor, "b d"] | None]:
        """`tokens`, and the token for the whole image where the model has one. Raises what `tokens` raises."""
        weight = next(self.model.parameters())
        images = fit_to_stride(images.to(weight), self.stride)
        mean, std = (torch.tensor(values).to(weight)[:, None, None] for values in (self.mean, self.std))
        rows, columns = images.shape[-2] // self.stride, images.shape[-1] // self.stride
        hidden = self.model(pixel_values=(images - mean) / std, **self._options).last_hidden_state
        front = hidden.shape[1] - rows * columns - self._registers
        if hidden.ndim != 3 or front not in (0, 1, 2):
            raise FileFormatError(
                f"model '{self.fingerprint}' gives {tuple(hidden.shape)} for {rows} x {columns} patches; "
                "one token a patch is needed: choose a plain vision transformer"
            )
        patches = hidden[:, front + self._registers :]
        return patches.unflatten(1, (rows, columns)).movedim(-1, 1), hidden[:, 0] if front else None

    def over(self, model: nn.Module) -> "TransformersBackbone":
        """The same settings around another model of the kind, such as a copy in training."""
        return TransformersBackbone(model, mean=self.mean, std=self.std)


def load_backbone(
    name: str, *, device: torch.device | str = "cpu"
) -> TransformersBackbone | ConvolutionalBackbone:
    """The backbone in a local folder, or of a hub id; safetensors weights only, in single precision.

    Vision transformers give their patch tokens, convolutional networks the layers that their config.json names.

    Raises:
        UnavailableError: transformers is missing, the hub cannot be reached, or the model has no safetensors.
        FileFormatError: the folder holds no readable model of a known kind, or its weights are incomplete.
    """
    try:
        from transformers import AutoConfig, AutoModel
    except ImportError as error:
        raise UnavailableError(
            f"features '{name}' need the transformers library: {error}; install it with: pip install transformers"
        ) from error
    folder = weights_folder(name)
    try:
        with quiet_transformers():
            config = AutoConfig.from_pretrained(folder, local_files_only=True)
            config = getattr(config, "vision_config", config)
            model, report = AutoModel.from_pretrained(
                folder, config=config, use_safetensors=True, local_files_only=True, output_loading_info=True
            )
    except Exception as error:  # transformers', safetensors' and the hub's errors have no common type
        raise FileFormatError(
            f"cannot load model '{name}' from {folder}: {one_line(error)}; check that the folder is complete"
        ) from error
    lost = sorted(key for key in report["missing_keys"] if not is_pooled(key))
    if lost:
        raise FileFormatError(
            f"model '{name}' in {folder} lacks {len(lost)} weights such as {lost[0]}; use a complete checkpoint"
        )
    mean, std = picture_statistics(folder)
    network = model.float().to(device).requires_grad_(False)
    wrap = TransformersBackbone if hasattr(config, "hidden_size") else ConvolutionalBackbone
    return wrap(network, mean=mean, std=std)


def save_backbone(backbone: TransformersBackbone | ConvolutionalBackbone, folder: Path) -> None:
    """Write config.json, safetensors and how pictures are normalised into `folder`, which exists.

    `load_backbone` reads it back, and so does the transformers library by itself.
    """
    model: Any = backbone.model
    with quiet_transformers():
        model.save_pretrained(folder)
    settings = {"do_normalize": True, "image_mean": list(backbone.mean), "image_std": list(backbone.std)}
    (folder / _SETTINGS[0]).write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")


def dinov2_small(*, device: torch.device | str = "cpu") -> TransformersBackbone | ConvolutionalBackbone:
    """DINOv2 ViT-S/14 with registers."""
    return load_backbone("facebook/dinov2-with-registers-small", device=device)


def dinov2_base(*, device: torch.device | str = "cpu") -> TransformersBackbone | ConvolutionalBackbone:
    """DINOv2 ViT-B/14 with registers."""
    return load_backbone("facebook/dinov2-with-registers-base", device=device)


def picture_statistics(folder: Path) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and deviation the model was trained with: its preprocessor's, else ImageNet's."""
    for file in _SETTINGS:
        path = folder / file
        if not path.is_file():
            continue
        try:
            settings = parsed(path.read_text(encoding="utf-8"))
            settings = settings.get("image_processor", settings)
            if settings.get("do_normalize", True) is False:
                return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
            if "image_mean" in settings and "image_std" in settings:
                return _three(settings["image_mean"]), _three(settings["image_std"])
        except (ValueError, TypeError, AttributeError) as error:
            raise FileFormatError(
                f"cannot read {path}: {one_line(error)}; restore or remove that file"
            ) from error
    return IMAGENET_MEAN, IMAGENET_STD


def _three(values: list[float]) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def _layout(config: Any) -> tuple[int, int]:
    """Length of a token and side of a patch in pixels."""
    length, side = getattr(config, "hidden_size", None), getattr(config, "patch_size", None)
    sides = list(side) if isinstance(side, list | tuple) else [side]
    if not isinstance(length, int) or not isinstance(sides[0], int) or any(one != sides[0] for one in sides):
        raise FileFormatError(
            f"a model of kind '{config.model_type}' has no square patches with tokens of one length (patch_size "
            f"{side}, hidden_size {length}); choose a plain vision transformer"
        )
    return length, sides[0]


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No load report and no progress bar: what matters of them is checked here and told in one line."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
