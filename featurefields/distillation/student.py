"""The network that learns, and the one that it learns from."""

import copy
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from featurefields.distillation.lora import add_lora, attention_maps, merge_lora
from featurefields.vision.interface import Extractor

_Network = TypeVar("_Network", bound="Backbone")


@runtime_checkable
class Backbone(Extractor, Protocol):
    """An extractor that can be trained: those of `transformers:…`."""

    model: nn.Module
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def tokens(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d hp wp"]:
        """Features, differentiable in the model's weights."""
        ...

    def over(self: _Network, model: nn.Module) -> _Network:
        """The same settings around another model of the kind."""
        ...


@dataclass(frozen=True, kw_only=True)
class StudentConfig:
    """What of the network is trained."""

    train: Literal["auto", "lora", "full"] = "auto"
    """lora: low-rank additions to the attention; full: everything. auto: lora for transformers, else full."""
    rank: int = 8
    """Rank of the additions."""
    alpha: float = 8.0
    """Additions count alpha / rank times."""
    dropout: float = 0.1
    """Share of their inputs left out in training."""


def student_of(backbone: Backbone, config: StudentConfig, generator: torch.Generator) -> Backbone:
    """A copy of `backbone` to train. Raises `FittingError` when it cannot be trained as asked."""
    copied = backbone.over(copy.deepcopy(backbone.model))
    model = copied.model
    lora = config.train == "lora" or (config.train == "auto" and any(True for _ in attention_maps(model)))
    if lora:
        add_lora(model, rank=config.rank, alpha=config.alpha, dropout=config.dropout, generator=generator)
    else:
        model.requires_grad_(True)
    return copied


def start_training(model: nn.Module) -> None:
    """Training mode, but statistics of batch normalisation stay what they are: batches are small and of few scenes."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def teacher_of(student: Backbone) -> Backbone:
    """A copy that never trains: in eval mode, without gradients."""
    copied = student.over(copy.deepcopy(student.model))
    copied.model.requires_grad_(False).eval()
    return copied


@torch.no_grad()
def follow(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """teacher = momentum teacher + (1 - momentum) student, for every parameter that the student trains."""
    present = dict(teacher.named_parameters())
    for name, parameter in student.named_parameters():
        if parameter.requires_grad:
            present[name].lerp_(parameter, 1 - momentum)


def merged(student: Backbone) -> Backbone:
    """A plain copy of the trained network: additions merged, in eval mode, without gradients."""
    model = merge_lora(copy.deepcopy(student.model)).requires_grad_(False).eval()
    return student.over(model)
