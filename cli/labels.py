"""`ff labels`: objects as numbers in a splat file, and back again after an editor dropped them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from featurefields.errors import PromptError

from .baking import baked
from .console import Console, Summary
from .inputs import existing, load_field, load_selection
from .options import OptionalPath, Output, ReportOptions, WriteOptions

if TYPE_CHECKING:
    from featurefields.field import FeatureField
    from featurefields.files.labels import Labels
    from featurefields.selection import Selection

UNNAMED = "selection"
"""Stem of selection files that say nothing; their folder's name is taken instead."""


@dataclass(frozen=True, kw_only=True)
class LabelsOptions:
    """Number the splats of a .ply by object, or give an edited .ply the numbers back.

    `ff labels write FIELD --selection cup.safetensors ball.safetensors -o scene.ply` writes the whole scene with an
    integer property "label" (1, 2, … in the order given, 0 is nothing) and what the numbers mean beside it.
    `ff labels attach edited.ply --labels scene.ply -o out.ply` finds the splats of scene.ply in what an editor saved.
    """

    action: tyro.conf.Positional[Literal["write", "attach"]]
    """write: label a field's splats by selections; attach: take labels over from another .ply."""
    field: tyro.conf.Positional[Path]
    """write: a folder that `ff fit` wrote, a .safetensors archive, or a 3DGS .ply; attach: the edited .ply."""
    output: Output
    """The .ply to write; names and prompts go to a file of that name with .labels.json appended."""
    selection: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FILE ...", help_behavior_hint="")] = ()
    """write: selections of `ff segment`, one an object; where they overlap the first has the splat."""
    labels: OptionalPath = None
    """attach: the labelled .ply from which the edited one was made."""
    tolerance: float = 0.5
    """attach: splats that are stored with fewer digits count as found within this many of their standard
    deviations."""
    frame_world: bool = False
    """write: use the field's own frame instead of the photos'."""
    write: tyro.conf.OmitArgPrefixes[WriteOptions] = WriteOptions()
    report: tyro.conf.OmitArgPrefixes[ReportOptions] = ReportOptions()


def run(options: LabelsOptions, console: Console) -> Summary:
    """Label or attach."""
    from featurefields.atomic import refuse_existing

    if options.output.suffix.lower() != ".ply":
        raise PromptError(f"--output {options.output} is no .ply; labels are written into a .ply")
    refuse_existing(options.output, options.write.overwrite)
    existing(options.field)
    return _attach(options) if options.action == "attach" else _label(options, console)


def named_selections(paths: Sequence[Path], field: "FeatureField") -> "dict[str, Selection]":
    """Selections of a field by name: that of their file, or of its folder where the file is just a "selection".

    Raises:
        FileFormatError: one of them is no selection.
        PromptError: one of them was made on another field, or two have the same name.
    """
    found: dict[str, Selection] = {}
    for path in paths:
        name = path.stem if path.stem != UNNAMED else path.resolve().parent.name
        if name in found:
            raise PromptError(
                f"two selections are called '{name}'; rename one of the files, for example {path}"
            )
        found[name] = load_selection(path, field)
    return found


def labels_of(selections: "Mapping[str, Selection]", field: "FeatureField") -> "Labels":
    """Numbers from 1 in the order given; where selections overlap the first has the Gaussian."""
    import torch

    from featurefields.files.labels import Label, Labels

    ids = torch.zeros(len(field), dtype=torch.int64)
    for number, selection in enumerate(selections.values(), start=1):
        ids[selection.mask.cpu() & (ids == 0)] = number
    entries = {
        number: Label(name, selection.how)
        for number, (name, selection) in enumerate(selections.items(), start=1)
    }
    return Labels(ids, entries, field.fingerprint())


def _label(options: LabelsOptions, console: Console) -> Summary:
    from featurefields.files.labels import write_labels

    if not options.selection:
        raise PromptError("nothing was selected; give selections of `ff segment` with --selection FILE")
    field = load_field(options.field)
    selections = named_selections(options.selection, field)
    labels = labels_of(selections, field)
    overlap = sum(selection.count for selection in selections.values()) - int((labels.ids > 0).sum())
    ordinary = baked(field, console, in_world=options.frame_world)
    paths = write_labels(ordinary, labels, options.output, overwrite=options.write.overwrite)
    rows = {
        "splats": len(field),
        "labelled": int((labels.ids > 0).sum()),
        "labels": {name: labels.count(number) for number, name in labels.names().items()},
        "in several selections": overlap or None,
    }
    return Summary(f"labelled {options.field}", rows, paths)


def _attach(options: LabelsOptions) -> Summary:
    from featurefields.files.labels import read_labels, write_labels
    from featurefields.files.ply import read_ply
    from featurefields.segmentation.reattach import recognise

    if options.labels is None:
        raise PromptError(
            "labels of what? give the labelled .ply this one was edited from with --labels FILE"
        )
    if options.tolerance < 0:
        raise PromptError(f"--tolerance is a distance, got {options.tolerance}; give 0 or more")
    labelled, labels = read_labels(existing(options.labels))
    edited = read_ply(options.field)
    found = recognise(edited.splats, labelled.splats, tolerance=options.tolerance)
    carried = type(labels)(found.carried(labels.ids), labels.entries, labels.field_id)
    paths = write_labels(edited.splats, carried, options.output, overwrite=options.write.overwrite)
    rows = {
        "splats": len(edited),
        "found at their place": found.exact,
        "found by colour and opacity": found.alike,
        "found nearby": found.near,
        "not found, label 0": found.unmatched,
        "labels": {name: carried.count(number) for number, name in carried.names().items()},
        "labels lost": [name for number, name in labels.names().items() if carried.count(number) == 0],
    }
    return Summary(f"attached the labels of {options.labels}", rows, paths)
