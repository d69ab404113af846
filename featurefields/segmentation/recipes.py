"""How a selection was made, in memory and as JSON.

A recipe is a list of steps and the settings. Prompts together make a selection, whatever else stands between them; then
the other steps (combine with a kept selection, invert) are carried out in their order.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from featurefields.camera import Camera
from featurefields.errors import FileFormatError, PromptError
from featurefields.segmentation.combine import Operation, known_operation
from featurefields.segmentation.prompts import Box, Click, MaskPrompt, Prompt, Scribble, Text
from featurefields.segmentation.records import (
    VERSION,
    Record,
    prompt_of,
    prompt_record,
    selection_of,
    selection_record,
)
from featurefields.segmentation.select import SelectConfig
from featurefields.segmentation.viewed import ViewedField
from featurefields.selection import Selection

SCHEMA, KIND = 1, "session"


@dataclass(frozen=True)
class Recipe:
    """How a selection was made."""

    steps: "tuple[Step, ...]" = ()
    config: SelectConfig = SelectConfig()

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        return tuple(step for step in self.steps if isinstance(step, Prompt))


@dataclass(frozen=True, eq=False)
class Kept:
    """A selection under a name, and how it was made; `recipe` is None for one from elsewhere (a file)."""

    name: str
    selection: Selection
    recipe: Recipe | None = None


@dataclass(frozen=True, eq=False)
class Combination:
    """A step: combine what is selected so far with a kept selection."""

    operation: Operation
    other: Kept


@dataclass(frozen=True)
class Inversion:
    """A step: select what is not selected so far."""


Step = Click | Box | Scribble | MaskPrompt | Text | Combination | Inversion


def session_record(recipe: Recipe, kept: Iterable[Kept], viewed: ViewedField) -> Record:
    """A session as JSON: settings, steps, kept selections, the field it belongs to, versions."""
    cameras = viewed.field.about.cameras
    return {
        "schema": SCHEMA,
        "kind": KIND,
        "version": VERSION,
        "field_id": viewed.fingerprint,
        **recipe_record(recipe, cameras),
        "kept": [kept_record(entry, cameras) for entry in kept],
    }


def check_record(record: Mapping[str, object], field_id: str) -> None:
    """Refuse what is no record of a session on the field with this fingerprint.

    Raises:
        FileFormatError: it is none, or of a newer version.
        PromptError: it was recorded on another field.
    """
    schema = record.get("schema")
    if record.get("kind") != KIND or type(schema) is not int:
        raise FileFormatError("this is not the record of a session; give one that a session wrote")
    if schema > SCHEMA:
        raise FileFormatError(
            f"the session was recorded by a newer featurefields (schema {schema}, this version reads up to {SCHEMA}); "
            "upgrade"
        )
    if record.get("field_id") != field_id:
        raise PromptError(
            f"the session was recorded on another scene (field {record.get('field_id')}, this one is {field_id}); "
            "replay it on the field that it was made on"
        )


@contextmanager
def reporting_damage() -> Iterator[None]:
    """Turn the errors of reading foreign JSON into one `FileFormatError`."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise FileFormatError(f"the record of the session is damaged ({reason}); record it again") from error


def recipe_record(recipe: Recipe, cameras: Mapping[str, Camera]) -> Record:
    """A recipe as JSON; `recipe_of` is the inverse on the same field."""
    steps = []
    for step in recipe.steps:
        if isinstance(step, Combination):
            steps.append(
                {"kind": "combine", "operation": step.operation, "with": kept_record(step.other, cameras)}
            )
        elif isinstance(step, Inversion):
            steps.append({"kind": "invert"})
        else:
            steps.append(prompt_record(step, cameras))
    return {"settings": asdict(recipe.config), "steps": steps}


def kept_record(kept: Kept, cameras: Mapping[str, Camera]) -> Record:
    """A kept selection as JSON: its recipe, or the selection itself where that is not known."""
    if kept.recipe is None:
        return {"name": kept.name, "selection": selection_record(kept.selection)}
    return {"name": kept.name, "recipe": recipe_record(kept.recipe, cameras)}


def recipe_of(
    record: Record, cameras: Mapping[str, Camera], selected_by: Callable[[Recipe], Selection]
) -> Recipe:
    """The recipe that was written; what was kept is selected anew. May raise what reading foreign JSON raises."""
    steps: list[Step] = []
    for entry in record["steps"]:
        if entry["kind"] == "combine":
            other = kept_of(entry["with"], cameras, selected_by)
            steps.append(Combination(known_operation(entry["operation"]), other))
        elif entry["kind"] == "invert":
            steps.append(Inversion())
        else:
            steps.append(prompt_of(entry, cameras))
    return Recipe(tuple(steps), config_of(record["settings"]))


def kept_of(
    record: Record, cameras: Mapping[str, Camera], selected_by: Callable[[Recipe], Selection]
) -> Kept:
    """The kept selection that was written; see `recipe_of`."""
    name = str(record["name"])
    if "recipe" not in record:
        return Kept(name, selection_of(record["selection"]))
    recipe = recipe_of(record["recipe"], cameras, selected_by)
    return Kept(name, selected_by(recipe), recipe)


def config_of(settings: Record) -> SelectConfig:
    """The settings that were written; those of later versions are refused.

    Raises:
        FileFormatError: a setting is unknown, or its value is of another type.
    """
    plain = asdict(SelectConfig())
    for name, value in settings.items():
        if name not in plain:
            raise FileFormatError(
                f"the session has a setting '{name}', which this version does not know; upgrade"
            )
        kinds = OPTIONAL.get(name, (type(plain[name]),))
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise FileFormatError(f"the session's setting '{name}' is {value!r}; correct it")
    return SelectConfig(**settings)


OPTIONAL: dict[str, tuple[type, ...]] = {
    "threshold": (float, int, type(None)),
    "radius_px": (float, int),
}
"""Settings that may be of several types."""
