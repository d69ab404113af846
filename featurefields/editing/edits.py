"""All kinds of edits. Each stands in a file with its like; `apply` carries any of them out."""

from featurefields.editing.interface import LUMINANCE, apply
from featurefields.editing.places import Duplicate, Move, Rotate, Scale
from featurefields.editing.presence import Delete, Hide, Keep, Show
from featurefields.editing.recolor import Recolor
from featurefields.editing.reflections import (
    RemoveSpecular,
    ScaleRoughness,
    ScaleSpecular,
    SetRoughness,
    TintSpecular,
)
from featurefields.editing.surroundings import TintSurroundings

Edit = (
    RemoveSpecular
    | ScaleSpecular
    | TintSpecular
    | Recolor
    | SetRoughness
    | ScaleRoughness
    | TintSurroundings
    | Rotate
    | Scale
    | Move
    | Duplicate
    | Hide
    | Show
    | Delete
    | Keep
)

KINDS: dict[str, type[Edit]] = {edit.kind: edit for edit in Edit.__args__}  # type: ignore[attr-defined]
"""Kinds of edits by their names, in the order in which the command line carries them out."""

__all__ = [
    "KINDS",
    "LUMINANCE",
    "Delete",
    "Duplicate",
    "Edit",
    "Hide",
    "Keep",
    "Move",
    "Recolor",
    "RemoveSpecular",
    "Rotate",
    "Scale",
    "ScaleRoughness",
    "ScaleSpecular",
    "SetRoughness",
    "Show",
    "TintSpecular",
    "TintSurroundings",
    "apply",
]
