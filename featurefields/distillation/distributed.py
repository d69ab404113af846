"""Several processes that train together, as torchrun starts them."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as group
from torch import Tensor

from featurefields.errors import UnavailableError


@dataclass(frozen=True)
class World:
    """Which of how many processes this is."""

    rank: int = 0
    size: int = 1

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all processes."""
        if self.size > 1:
            tensor = tensor.clone()
            group.all_reduce(tensor)
        return tensor

    @torch.no_grad()
    def average_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Give every process the mean gradient, in one message; a parameter without one counts as 0."""
        if self.size == 1:
            return
        trained = list(parameters)
        flat = torch.cat(
            [(torch.zeros_like(one) if one.grad is None else one.grad).flatten() for one in trained]
        )
        group.all_reduce(flat)
        flat /= self.size
        for one, mean in zip(trained, flat.split([one.numel() for one in trained]), strict=True):
            one.grad = mean.view_as(one).clone()

    def wait(self) -> None:
        """Go on when all processes are here."""
        if self.size > 1:
            group.barrier()


ALONE = World()


@contextmanager
def joined(device: torch.device) -> Iterator[World]:
    """The processes that torchrun started; one alone without it. NCCL between GPUs, gloo between CPUs.

    Raises:
        UnavailableError: torch was built without distributed training, or the processes do not find each other.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE
        return
    if not group.is_available():
        raise UnavailableError("this torch was built without torch.distributed; train in one process")
    try:
        group.init_process_group("nccl" if device.type == "cuda" else "gloo")
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UnavailableError(
            f"the {size} processes do not find each other ({reason}); start with torchrun"
        ) from error
    try:
        yield World(group.get_rank(), group.get_world_size())
    finally:
        group.destroy_process_group()
