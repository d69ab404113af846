"""JSON that anybody may have written: parsed, or refused in one line."""

import json
from typing import Any

_WIDEST = 64
"""Bits of a whole number. Python reads any, which then overflow wherever they meet a float or an array."""


def parsed(text: str | bytes) -> Any:
    """The value that `text` (UTF-8 if bytes) writes.

    Raises:
        ValueError: it is no JSON, it is nested too deep, or it holds a whole number beyond 64 bits; in one line.
    """
    try:
        return json.loads(text, parse_int=_whole)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    except ValueError as error:
        raise ValueError(" ".join(str(error).split())) from error


def _whole(digits: str) -> int:
    if len(digits) > _WIDEST or (number := int(digits)).bit_length() > _WIDEST:
        raise ValueError(f"a whole number of {len(digits.lstrip('-'))} digits")
    return number
