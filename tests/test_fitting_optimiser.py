"""Adam of our own: the same numbers as torch's, and rows that come and go without disturbing the others."""

import pytest
import torch
from torch import Tensor

from featurefields.fitting.optimiser import TableAdam

SHAPES = {"means": (7, 3), "opacity": (7,), "head": (4, 5)}
RATES = {"means": 0.01, "opacity": 0.2, "head": 0.003}


def start(seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}


def gradients(step: int) -> dict[str, Tensor]:
    return start(1000 + step)


def step(adam: TableAdam, number: int) -> None:
    for name, gradient in gradients(number).items():
        adam.parameters[name].grad = gradient[: len(adam.parameters[name])].clone()
    adam.step()


@pytest.mark.parametrize("betas", [(0.9, 0.99), (0.5, 0.999)])
def test_the_same_as_torch_over_many_steps(betas: tuple[float, float]):
    ours = TableAdam(start(), RATES, betas=betas)
    theirs = {name: value.clone().requires_grad_() for name, value in start().items()}
    groups = [{"params": [theirs[name]], "lr": RATES[name]} for name in theirs]
    adam = torch.optim.Adam(groups, betas=betas, eps=1e-15)
    for number in range(25):
        step(ours, number)
        for name, gradient in gradients(number).items():
            theirs[name].grad = gradient.clone()
        adam.step()
    for name, value in theirs.items():
        assert torch.allclose(ours.parameters[name], value, rtol=1e-5, atol=1e-6), name
        assert not torch.allclose(value, start()[name], atol=1e-2), "the steps moved it"


def test_what_has_no_gradient_stays_and_gradients_are_cleared():
    adam = TableAdam(start(), RATES)
    adam.parameters["means"].grad = torch.ones(7, 3)
    adam.step()
    assert torch.equal(adam.parameters["head"], start()["head"])
    assert not torch.equal(adam.parameters["means"], start()["means"])
    assert all(value.grad is None for value in adam.parameters.values())


def test_a_rate_of_zero_gathers_momentum_but_does_not_move():
    adam = TableAdam(start(), RATES | {"means": 0.0})
    step(adam, 0)
    assert torch.equal(adam.parameters["means"], start()["means"])
    assert float(adam.first["means"].abs().max()) > 0


def test_parameters_of_a_module_are_updated_in_place():
    layer = torch.nn.Linear(2, 2)
    adam = TableAdam({"head": layer.weight}, {"head": 0.1})
    before = layer.weight.detach().clone()
    layer.weight.sum().backward()
    adam.step()
    assert adam.parameters["head"] is layer.weight
    assert torch.allclose(layer.weight, before - 0.1, atol=1e-6)


def test_row_surgery_keeps_the_kept_and_starts_the_new_afresh():
    adam, untouched = TableAdam(start(), RATES), TableAdam(start(), RATES)
    for number in range(3):
        step(adam, number)
        step(untouched, number)
    keep = torch.tensor([5, 0, 3])
    new = {"means": torch.full((2, 3), 9.0), "opacity": torch.full((2,), 9.0)}
    adam.replace_rows(["means", "opacity"], keep, new)
    for name in ("means", "opacity"):
        assert torch.equal(adam.parameters[name][:3], untouched.parameters[name][keep])
        assert torch.equal(adam.parameters[name][3:], new[name]) and adam.parameters[name].requires_grad
        for mine, theirs in ((adam.first, untouched.first), (adam.second, untouched.second)):
            assert torch.equal(mine[name][:3], theirs[name][keep])
            assert torch.equal(mine[name][3:], torch.zeros_like(new[name]))
    assert torch.equal(adam.parameters["head"], untouched.parameters["head"])
    gradient = gradients(3)
    for optimiser, rows in ((adam, keep), (untouched, None)):
        for name in ("means", "opacity"):
            full = gradient[name]
            given = full if rows is None else torch.cat([full[rows], full[:2]])
            optimiser.parameters[name].grad = given.clone()
        optimiser.step()
    for name in ("means", "opacity"):
        assert torch.equal(adam.parameters[name][:3], untouched.parameters[name][keep]), "they go on alike"


@pytest.mark.parametrize("rows", [7, 4])
def test_a_loaded_state_goes_on_bit_for_bit(rows: int):
    """Also into an optimiser that was made for another number of rows."""
    straight = TableAdam(start(), RATES)
    for number in range(6):
        step(straight, number)
    halted = TableAdam(start(), RATES)
    for number in range(3):
        step(halted, number)
    saved = {name: value.clone() for name, value in halted.state().items()}
    begin = {name: (value[:rows] if name != "head" else value) for name, value in start(77).items()}
    resumed = TableAdam(begin, RATES)
    head = resumed.parameters["head"]
    resumed.load(saved, steps=3)
    assert resumed.parameters["head"] is head
    for number in range(3, 6):
        step(resumed, number)
    for name, value in straight.parameters.items():
        assert torch.equal(value, resumed.parameters[name]), name
