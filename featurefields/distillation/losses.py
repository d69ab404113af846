"""How far the student's tokens are from their targets.

Letters: b batch · d feature dimension · k prototypes · hp wp patches · t tokens that count.
"""

import copy
from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, log_softmax, normalize

LossName = Literal["cosine", "centred", "direct", "dino"]
Each = Callable[[Float[Tensor, "t d"], Float[Tensor, "t d"]], Float[Tensor, "t"]]
"""A loss for every token."""


def cosine_loss(tokens: Float[Tensor, "t d"], targets: Float[Tensor, "t d"]) -> Float[Tensor, "t"]:
    """1 - cosine."""
    return 1.0 - cosine_similarity(tokens, targets, dim=-1)


def direct_loss(tokens: Float[Tensor, "t d"], targets: Float[Tensor, "t d"]) -> Float[Tensor, "t"]:
    """Mean squared difference over the dimensions."""
    return (tokens - targets).square().mean(-1)


def valid_mean(
    each: Each,
    tokens: Float[Tensor, "b d hp wp"],
    targets: Float[Tensor, "b d hp wp"],
    valid: Bool[Tensor, "b hp wp"],
) -> Float[Tensor, ""]:
    """Mean over the tokens that count in every picture, then over the pictures (one without any adds 0).

    A batch in two halves has the mean of their losses, whatever counts in which: processes can share a batch.
    """
    counts = valid.flatten(1).sum(1)
    losses = each(tokens.movedim(1, -1)[valid], targets.movedim(1, -1)[valid])
    owner = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
    sums = losses.new_zeros(len(counts)).index_add(0, owner, losses)
    return (sums / counts.clamp(min=1)).mean()


class RunningCentre(nn.Module):
    """A running mean (k) of what a teacher says, that moves once for an update, whoever shares the batch."""

    centre: Float[Tensor, "k"]

    def __init__(self, size: int, *, momentum: float = 0.9) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(size))
        self._momentum = momentum
        self._seen = torch.zeros(0)

    def _note(self, said: Float[Tensor, "t k"]) -> None:
        """Remember the sum of what was said and how much there was, until the centre moves."""
        seen = torch.cat([said.sum(0), said.new_tensor([float(len(said))])])
        self._seen = seen if not len(self._seen) else self._seen + seen

    @torch.no_grad()
    def move_centre(self, summed: Callable[[Tensor], Tensor] = lambda one: one) -> None:
        """Follow the mean since the last move; `summed` adds up what all processes noted."""
        if not len(self._seen):
            self._seen = torch.zeros(len(self.centre) + 1).to(self.centre)
        total = summed(self._seen)
        self._seen = torch.zeros(0)
        if total[-1] > 0:
            self.centre.lerp_(total[:-1] / total[-1], 1 - self._momentum)


class CentredLoss(RunningCentre):
    """1 - cosine of what is left when the targets' running mean (d) is taken from both.

    Targets are means of several views and whole segments, so they vary less than what they are made of; a teacher that
    follows its student hands that on, until all features point one way and every cosine is high. What all have in
    common counts nothing here.
    """

    def forward(self, tokens: Float[Tensor, "t d"], targets: Float[Tensor, "t d"]) -> Float[Tensor, "t"]:
        self._note(targets.detach())
        return cosine_loss(tokens - self.centre, targets - self.centre)


class DinoHead(nn.Module):
    """Three layers, unit length, cosines to learned prototypes (Caron et al. 2021, section 3.1)."""

    def __init__(
        self, dim: int, *, prototypes: int = 65_536, hidden: int = 2048, bottleneck: int = 256
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(dim, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, bottleneck),
        )
        self.prototypes = nn.Parameter(torch.randn(prototypes, bottleneck))

    def forward(self, tokens: Float[Tensor, "t d"]) -> Float[Tensor, "t k"]:
        return normalize(self.layers(tokens), dim=-1) @ normalize(self.prototypes, dim=-1).T


class DinoLoss(RunningCentre):
    """Cross-entropy between the teacher's and the student's shares of the prototypes.

    The teacher's scores are centred by a running mean and sharpened by a lower temperature, which together keep the
    shares from collapsing (Caron et al. 2021, section 3.1). The teacher's head follows the student's (`heads`).
    """

    def __init__(
        self,
        head: DinoHead,
        *,
        student_temperature: float = 0.1,
        teacher_temperature: float = 0.04,
        momentum: float = 0.9,
    ) -> None:
        super().__init__(len(head.prototypes), momentum=momentum)
        self.head = head
        self.teacher_head = copy.deepcopy(head).requires_grad_(False).eval()
        self._temperatures = student_temperature, teacher_temperature

    def forward(self, tokens: Float[Tensor, "t d"], targets: Float[Tensor, "t d"]) -> Float[Tensor, "t"]:
        student, teacher = self._temperatures
        with torch.no_grad():
            scores = self.teacher_head(targets)
            wanted = ((scores - self.centre) / teacher).softmax(-1)
            self._note(scores)
        return -(wanted * log_softmax(self.head(tokens) / student, dim=-1)).sum(-1)
