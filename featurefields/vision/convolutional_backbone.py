"""Any convolutional network of the transformers library as dense features.

Letters: b batch · h w pixels · hp wp patches · c channels of a layer · d feature dimension.

Which layers are features is written in the model's own config.json, so that the folder says all there is to know:

- `feature_layers`: indices of the hidden states to take; without, the last hidden state. Several are normalised to unit
  length each, so that none outweighs the others, and concatenated.
- `feature_stride`: pixels from one patch to the next; without, that of the finest layer taken.
- `feature_first_px`: the pixel coordinate that the first cell of each layer looks at; without, half the layer's stride.
  A strided convolution with TensorFlow's padding looks half a stride further right and down than the centre of its
  cell; told here, features are sampled where the patches' centres really are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize, pad

from featurefields.errors import FileFormatError
from featurefields.vision.fingerprints import IMAGENET_MEAN, IMAGENET_STD, weights_digest
from featurefields.vision.interface import fit_to_stride

_PROBE_PX = 128
"""Side of the image with which the layers' sizes are found out."""


@dataclass(frozen=True)
class _Layer:
    """One layer that is taken: its index in the hidden states (None: the last hidden state), channels and grid."""

    index: int | None
    channels: int
    stride: int
    first_px: float


class ConvolutionalBackbone:
    """An extractor around a convolutional model; `model` may go on being trained through `tokens`.

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
            FileFormatError: it gives no feature maps, or config.json names layers that it does not have.
        """
        config: Any = model.config
        self.model = model.eval()
        self.mean, self.std = mean, std
        self._layers = _layers_taken(model, config)
        self._deepest = max(layer.stride for layer in self._layers)
        self.stride = int(
            getattr(config, "feature_stride", None) or min(layer.stride for layer in self._layers)
        )
        self.dim = sum(layer.channels for layer in self._layers)
        taken = [(layer.index, layer.first_px) for layer in self._layers]
        self.fingerprint = (
            f"transformers:{config.model_type}@{weights_digest(model, mean, std, self.stride, taken)}"
        )

    @torch.no_grad()
    def __call__(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d hp wp"]:
        """Patch features of the images, on their device."""
        return self.tokens(images.float()).to(images.device)

    def tokens(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d hp wp"]:
        """The same, differentiable in the model's weights and on the model's device."""
        images = fit_to_stride(images.to(next(self.model.parameters())), self.stride)
        height, width = images.shape[-2:]
        mean, std = (torch.tensor(values).to(images)[:, None, None] for values in (self.mean, self.std))
        whole = pad(
            (images - mean) / std, (0, -width % self._deepest, 0, -height % self._deepest), "replicate"
        )
        maps = _run(self.model, whole, [layer.index for layer in self._layers])
        rows, columns = height // self.stride, width // self.stride
        sampled = [
            _sampled(found, layer, rows, columns, self.stride)
            for found, layer in zip(maps, self._layers, strict=True)
        ]
        if len(sampled) == 1:
            return sampled[0]
        return torch.cat(sampled, dim=1)

    def over(self, model: nn.Module) -> "ConvolutionalBackbone":
        """The same settings around another model of the kind, such as a copy in training."""
        return ConvolutionalBackbone(model, mean=self.mean, std=self.std)


def _layers_taken(model: nn.Module, config: Any) -> list[_Layer]:
    """The layers that config.json asks for, with the sizes they turn out to have."""
    wanted: Sequence[int | None] = getattr(config, "feature_layers", None) or [None]
    maps = _probed(model, wanted, config.model_type)
    strides = [max(1, round(_PROBE_PX / found.shape[-1])) for found in maps]
    first: Sequence[float] = getattr(config, "feature_first_px", None) or [side / 2 for side in strides]
    if len(first) != len(wanted):
        raise FileFormatError(
            f"the model's config.json has {len(first)} feature_first_px for {len(wanted)} feature_layers; give one "
            "for each"
        )
    return [
        _Layer(index, found.shape[1], stride, float(start))
        for index, found, stride, start in zip(wanted, maps, strides, first, strict=True)
    ]


def _probed(model: nn.Module, wanted: Sequence[int | None], kind: str) -> list[Float[Tensor, "1 c h1 w1"]]:
    """The layers of an empty image. Raises `FileFormatError` when they are no feature maps."""
    image = torch.zeros(1, 3, _PROBE_PX, _PROBE_PX).to(next(model.parameters()))
    try:
        with torch.no_grad():
            maps = _run(model, image, wanted)
    except (IndexError, TypeError, AttributeError, RuntimeError, ValueError) as error:
        raise FileFormatError(
            f"a model of kind '{kind}' gives no layers {list(wanted)} ({' '.join(str(error).split())[:200]}); correct "
            "feature_layers in its config.json, or choose another model"
        ) from error
    if any(found.ndim != 4 for found in maps):
        raise FileFormatError(
            f"a model of kind '{kind}' gives {tuple(maps[0].shape)}: neither patch tokens of a plain vision "
            "transformer nor maps of a convolutional network; choose one of these"
        )
    return maps


def _run(model: nn.Module, images: Float[Tensor, "b 3 h w"], wanted: Sequence[int | None]) -> list[Tensor]:
    """The feature maps asked for; each is normalised to unit length where there are several."""
    output = model(pixel_values=images, output_hidden_states=True)
    maps = [output.last_hidden_state if index is None else output.hidden_states[index] for index in wanted]
    return [normalize(found, dim=1) for found in maps] if len(maps) > 1 else maps


def _sampled(
    found: Float[Tensor, "b c h1 w1"], layer: _Layer, rows: int, columns: int, stride: int
) -> Float[Tensor, "b c hp wp"]:
    """A layer at the centres of the patches, linear between its cells; beyond the outermost the nearest goes on."""
    if (layer.stride, layer.first_px) == (stride, stride / 2):
        return found[..., :rows, :columns]
    down = _weights(rows, found.shape[-2], layer, stride).to(found)
    across = _weights(columns, found.shape[-1], layer, stride).to(found)
    return torch.einsum("ih,bchw,jw->bcij", down, found, across)


def _weights(patches: int, cells: int, layer: _Layer, stride: int) -> Float[Tensor, "p cells"]:
    """Along one axis: the weight of every cell in every patch (rows sum to one)."""
    centres = (torch.arange(patches, dtype=torch.float64) + 0.5) * stride
    at = ((centres - layer.first_px) / layer.stride).clamp(0, cells - 1)
    return (1 - (at[:, None] - torch.arange(cells)).abs()).clamp(min=0)
