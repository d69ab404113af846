"""Which extractor sees: chosen by name."""

import torch

from featurefields.errors import UnknownNameError
from featurefields.registry import Registry
from featurefields.vision.interface import Extractor

EXTRACTORS = Registry(
    kind="feature extractor",
    group="featurefields.extractors",
    entries={
        "classical": "featurefields.vision.classical:ClassicalExtractor",
        "dinov2": "featurefields.vision.transformers_backbone:dinov2_small",
        "dinov2-base": "featurefields.vision.transformers_backbone:dinov2_base",
        "transformers": "featurefields.vision.transformers_backbone:load_backbone",
        "onnx": "featurefields.vision.onnx_file:OnnxExtractor",
    },
)
"""An entry is called as entry(device=…), or as entry(argument, device=…) for the name "entry:argument"."""

ARGUMENTS = {"transformers": "<local folder or hub id>", "onnx": "<file>"}
"""Entries of ours that need an argument after the colon, and what it is."""


def choose_extractor(name: str = "classical", *, device: str | torch.device = "cpu") -> Extractor:
    """The extractor called `name`, its weights on `device`.

    Names: "classical" (no weights, works offline), "dinov2", "dinov2-base", "transformers:<local folder or
    hub id>" (any vision transformer with patch tokens), "onnx:<file>", and what third parties register.

    Raises:
        UnknownNameError: no such extractor, or its argument is missing or too much.
        UnavailableError: a package or the weights are missing, or the hub cannot be reached.
        FileFormatError: the weights are there but cannot be read or do not fit.
    """
    entry, colon, argument = name.partition(":")
    factory = EXTRACTORS.load(entry)
    if entry in ARGUMENTS and not argument:
        raise UnknownNameError(f"feature extractor '{entry}' needs to know which: {entry}:{ARGUMENTS[entry]}")
    if colon and entry in EXTRACTORS.entries and entry not in ARGUMENTS:
        raise UnknownNameError(
            f"feature extractor '{entry}' takes nothing after the colon, found '{argument}'"
        )
    device = torch.device(device)
    return factory(argument, device=device) if colon else factory(device=device)
