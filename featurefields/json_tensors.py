"""Tensors inside JSON: their shape, and their numbers (zlib, base64), exactly."""

import base64
import math
import zlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

MOST_PACKED = 1100
"""zlib makes no byte of more than 1032 (its own documentation); what promises more is refused unseen."""


def packed(tensor: Tensor) -> dict[str, Any]:
    """A tensor of booleans or of float32 numbers as JSON."""
    array = tensor.detach().cpu().numpy()
    content = np.packbits(array).tobytes() if array.dtype == np.bool_ else array.astype("<f4").tobytes()
    return {"shape": list(array.shape), "zlib": base64.b64encode(zlib.compress(content, 9)).decode("ascii")}


def unpacked(record: Any, dtype: torch.dtype) -> Tensor:
    """The inverse of `packed`, of `dtype` bool or float32.

    Raises:
        ValueError: it is not what `packed` writes. Also what reading foreign JSON raises (KeyError, TypeError).
    """
    # scripts of before 2026-11-29 hold rows alone, and call their number "of"
    shape = list(record["shape"] if "of" not in record else [record["of"]])
    if any(type(length) is not int or length < 0 for length in shape) or len(shape) > 2:
        raise ValueError(f"a tensor of shape {shape}")
    count = math.prod(shape)
    size = (count + 7) // 8 if dtype == torch.bool else 4 * count
    compressed = base64.b64decode(record["zlib"], validate=True)
    if size > (len(compressed) + 1) * MOST_PACKED:
        raise ValueError(f"packed numbers cannot hold the {size} bytes of their shape {shape}")
    try:
        content = zlib.decompressobj().decompress(compressed, size + 1)
    except zlib.error as error:
        raise ValueError(f"packed numbers are damaged ({error})") from error
    if len(content) != size:
        raise ValueError(f"packed numbers have not the {size} bytes of their shape {shape}")
    raw = np.frombuffer(content, dtype=np.uint8)
    if dtype == torch.bool:
        return torch.from_numpy(np.unpackbits(raw, count=count).astype(bool).reshape(shape))
    return torch.from_numpy(raw.view("<f4").astype(np.float32).reshape(shape))
