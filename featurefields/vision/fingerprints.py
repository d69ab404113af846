"""What identifies a network: its weights and how its images are normalised."""

from hashlib import sha256

import torch
from torch import nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def is_pooled(name: str) -> bool:
    """Whether a weight belongs to what summarises the patches; patch tokens do not depend on it."""
    return not {"pooler", "head"}.isdisjoint(name.split("."))


def weights_digest(model: nn.Module, *settings: object) -> str:
    """Hash of the settings, and of every weight that matters with its name."""
    digest = sha256(repr(settings).encode())
    for name, tensor in sorted(model.state_dict().items()):
        if is_pooled(name):
            continue
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
