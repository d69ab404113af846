"""Tokens with the class token beside them, as the linear probes of DINOv2 read a transformer.

Letters: b batch · d token dimension · hp wp patches.
"""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.vision.interface import Extractor


@runtime_checkable
class ClassTokenBackbone(Extractor, Protocol):
    """An extractor whose network also gives one token for the whole image."""

    has_class_token: bool
    """Whether this network has one."""

    def tokens_and_class(
        self, images: Float[Tensor, "b 3 h w"]
    ) -> tuple[Float[Tensor, "b d hp wp"], Float[Tensor, "b d"] | None]:
        """Patch tokens, and the class token where there is one."""
        ...


class ClassTokenExtractor:
    """Every patch token with the class token behind it: twice the dimension."""

    def __init__(self, backbone: ClassTokenBackbone) -> None:
        self._backbone = backbone
        self.fingerprint = f"{backbone.fingerprint}+class"
        self.dim, self.stride = 2 * backbone.dim, backbone.stride

    @torch.no_grad()
    def __call__(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d hp wp"]:
        """Tokens of the images, on their device."""
        patches, token = self._backbone.tokens_and_class(images.float())
        assert token is not None, "only backbones with a class token are wrapped"
        spread = token[:, :, None, None].expand(-1, -1, *patches.shape[-2:])
        return torch.cat([patches, spread], dim=1).to(images.device)


def with_class_token(extractor: Extractor) -> Extractor | None:
    """The extractor with the class token beside every patch; None where its network has none."""
    if isinstance(extractor, ClassTokenBackbone) and extractor.has_class_token:
        return ClassTokenExtractor(extractor)
    return None
