"""Adam over named tensors whose rows may come and go, in torch's fused kernel.

Letters: n rows.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Int
from torch import Tensor
from torch.optim.adam import adam


class TableAdam:
    """Adam (Kingma and Ba 2015) with one learning rate a tensor and row surgery.

    `parameters` maps names to tensors; leaves that require gradients (a module's parameters) are updated in place,
    others become such leaves. `rates` gives the learning rates and may be changed at any time.
    """

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        rates: Mapping[str, float],
        *,
        betas: tuple[float, float] = (0.9, 0.99),
    ) -> None:
        self.parameters = {
            name: value if value.requires_grad else value.detach().requires_grad_()
            for name, value in parameters.items()
        }
        self.rates = dict(rates)
        self.betas = betas
        self.steps = 0
        self.first = {name: torch.zeros_like(value) for name, value in self.parameters.items()}
        self.second = {name: torch.zeros_like(value) for name, value in self.parameters.items()}

    @torch.no_grad()
    def step(self) -> None:
        """One update of every tensor that has a gradient; gradients are cleared."""
        self.steps += 1
        for name, value in self.parameters.items():
            if value.grad is None:
                continue
            adam(
                [value], [value.grad], [self.first[name]], [self.second[name]], [],
                [torch.tensor(self.steps - 1.0, device=value.device)],
                fused=True, amsgrad=False, beta1=self.betas[0], beta2=self.betas[1], lr=self.rates[name],
                weight_decay=0.0, eps=1e-15, maximize=False,
            )  # fmt: skip
        for value in self.parameters.values():
            value.grad = None

    @torch.no_grad()
    def replace_rows(self, names: list[str], keep: Int[Tensor, "n"], new: Mapping[str, Tensor]) -> None:
        """Keep the rows `keep` of the named tensors and append the rows of `new`, which start without momentum."""
        for name in names:
            rows = new[name].detach()
            self.parameters[name] = torch.cat([self.parameters[name].detach()[keep], rows]).requires_grad_()
            for moments in (self.first, self.second):
                moments[name] = torch.cat([moments[name][keep], torch.zeros_like(rows)])

    def state(self) -> dict[str, Tensor]:
        """Everything that changes, by name; `load` is the inverse."""
        groups = {"parameter": self.parameters, "first": self.first, "second": self.second}
        return {
            f"{group}.{name}": value.detach()
            for group, values in groups.items()
            for name, value in values.items()
        }

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor], steps: int) -> None:
        """Continue from `state()` after `steps` updates; tensors of unchanged shape keep their identity."""
        self.steps = steps
        for group, values in (("parameter", self.parameters), ("first", self.first), ("second", self.second)):
            for name, present in values.items():
                saved = state[f"{group}.{name}"].to(present.device)
                if saved.shape == present.shape:
                    present.copy_(saved)
                else:
                    values[name] = saved.clone().requires_grad_(group == "parameter")
