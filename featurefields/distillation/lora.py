"""Low-rank additions to the attention of a vision transformer (Hu et al. 2022).

Letters: i inputs · o outputs · r rank.
"""

import math
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear

from featurefields.errors import FittingError

ATTENTION = ("attention", "attn", "self_attn", "self_attention")
"""What the transformers library calls the part of a layer that attends."""
PROJECTIONS = (
    "q_proj",
    "k_proj",
    "v_proj",
    "o_proj",
    "out_proj",
    "query",
    "key",
    "value",
    "qkv",
    "dense",
    "proj",
)
"""And the linear maps inside it: to queries, keys and values, and back."""


class LoraLinear(nn.Module):
    """A frozen linear map plus alpha / r times a product of two thin ones, which starts at 0."""

    down: Float[Tensor, "r i"]
    up: Float[Tensor, "o r"]

    def __init__(
        self, kept: nn.Linear, *, rank: int, alpha: float, dropout: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.kept = kept.requires_grad_(False)
        self.factor = alpha / rank
        self.dropout = nn.Dropout(dropout)
        bound = 1 / math.sqrt(kept.in_features)
        down = (2 * torch.rand(rank, kept.in_features, generator=generator) - 1) * bound
        self.down = nn.Parameter(down.to(kept.weight))
        self.up = nn.Parameter(torch.zeros(kept.out_features, rank).to(kept.weight))

    def forward(self, inputs: Tensor) -> Tensor:
        low = linear(self.dropout(inputs), self.down)
        return self.kept(inputs) + self.factor * linear(low, self.up)

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """The same map as one matrix (without dropout)."""
        self.kept.weight += self.factor * (self.up.double() @ self.down.double()).to(self.kept.weight)
        return self.kept


def attention_maps(model: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Linear]]:
    """Every linear map of the model's attention: the module that has it, under which name, and the map.

    Not those of torch's own attention, which pools tokens in some models and reads the weights by itself.
    """
    for path, module in model.named_modules():
        if isinstance(module, nn.MultiheadAttention):
            continue
        for name, child in module.named_children():
            inside = any(part in ATTENTION for part in path.split("."))
            if inside and isinstance(child, nn.Linear) and name in PROJECTIONS:
                yield module, name, child


def add_lora(
    model: nn.Module, *, rank: int = 8, alpha: float = 8.0, dropout: float = 0.1, generator: torch.Generator
) -> nn.Module:
    """Freeze `model` and put low-rank additions on its attention, in place; only they are trainable.

    Raises:
        FittingError: it has no attention whose linear maps are known.
    """
    model.requires_grad_(False)
    found = list(attention_maps(model))
    if not found:
        raise FittingError(
            f"a {type(model).__name__} has no attention to put low-rank additions on; train it with --train full"
        )
    for owner, name, kept in found:
        addition = LoraLinear(kept, rank=rank, alpha=alpha, dropout=dropout, generator=generator)
        setattr(owner, name, addition.train(owner.training))
    return model


def merge_lora(model: nn.Module) -> nn.Module:
    """Replace every low-rank addition by the one matrix that does the same, in place."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, LoraLinear):
                setattr(module, name, child.merged())
    return model
