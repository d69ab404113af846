"""Boolean operations on selections by name, as commands, sessions and their records call them."""

from collections.abc import Callable
from operator import and_, or_, sub
from typing import Literal, get_args

import torch

from featurefields.errors import PromptError
from featurefields.field import FeatureField
from featurefields.selection import Selection

Operation = Literal["or", "and", "minus"]

_OPERATORS: dict[str, Callable[[Selection, Selection], Selection]] = {"or": or_, "and": and_, "minus": sub}


def known_operation(name: str) -> Operation:
    """`name`, when it is an operation. Raises `PromptError` otherwise."""
    if name not in _OPERATORS:
        raise PromptError(
            f"selections cannot be combined with '{name}'; the operations are {', '.join(get_args(Operation))}"
        )
    return name  # type: ignore[return-value]


def combined(one: Selection, operation: str, other: Selection) -> Selection:
    """`one or other`, `one and other` or `one minus other`.

    Raises:
        PromptError: an unknown operation, or selections of different fields.
    """
    return _OPERATORS[known_operation(operation)](one, other)


def nothing(field: FeatureField) -> Selection:
    """The selection of no Gaussian, with the score -1."""
    blank = torch.zeros_like(field.splats.opacity_logits)
    return Selection(blank.bool(), blank - 1, field.fingerprint(), {"prompts": []})
