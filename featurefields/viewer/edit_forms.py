"""Every kind of edit as a form: which controls it has, and the edit that their values make."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from functools import partial
from typing import Any, Literal, get_args, get_origin, get_type_hints

from featurefields.editing.edits import KINDS, Edit
from featurefields.viewer.widgets import Widgets

STARTS: Mapping[tuple[str, str], Any] = {
    ("scale-specular", "factor"): 0.5,
    ("tint-specular", "rgb"): (0.9, 0.6, 0.3),
    ("recolor", "rgb"): (0.1, 0.45, 0.7),
    ("roughness", "value"): 0.4,
    ("scale-roughness", "factor"): 2.0,
    ("tint-surroundings", "factors"): (1.0, 0.8, 0.6),
    ("rotate", "degrees"): 30.0,
    ("scale", "factor"): 1.25,
    ("move", "by"): (0.0, 0.0, 0.1),
    ("duplicate", "by"): (0.3, 0.0, 0.0),
    ("delete", "clean_up"): True,
}
"""Where controls start when the edit itself does not say."""
UNIT = {("remove-specular", "strength"), ("roughness", "value")}
"""Numbers from 0 to 1."""
LABELS = {
    "rgb": "colour",
    "by": "by x, y, z",
    "factors": "times r, g, b",
    "clean_up": "with its halo",
    "flat": "without texture",
    "name": "copy's name",
}


class EditForm:
    """The controls of one kind of edit; `changed` is called when one of them is moved."""

    def __init__(self, widgets: Widgets, kind: str, changed: Callable[[], object]) -> None:
        self.kind, self._changed = kind, changed
        self._values = starting_values(kind)
        hints = get_type_hints(KINDS[kind])
        self._handles = [self._control(widgets, name, hints[name]) for name in self._values]

    @property
    def edit(self) -> Edit:
        """The edit that the controls say. Raises `PromptError` when a value is out of range."""
        return KINDS[self.kind](**self._values)

    def start(self, name: str, value: Any) -> None:
        """Another value for a control before anything was moved."""
        self._values[name] = value

    def remove(self) -> None:
        """Take the controls away."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _control(self, widgets: Widgets, name: str, hint: Any) -> Any:
        value, label = self._values[name], LABELS.get(name, name)
        take = partial(self._take, name)
        if hint is bool:
            return widgets.checkbox(label, value, take)
        if hint is str:
            return widgets.text(label, value, take)
        if get_origin(hint) is Literal:
            return widgets.dropdown(label, get_args(hint), value, take)
        if name == "rgb":
            red, green, blue = (round(255 * part) for part in value)
            return widgets.colour(
                label, (red, green, blue), lambda rgb: take(tuple(part / 255 for part in rgb))
            )
        if get_origin(hint) is tuple:
            return widgets.vector(label, value, lambda vector: take(tuple(map(float, vector))))
        if (self.kind, name) in UNIT:
            return widgets.slider(label, (0.0, 1.0, 0.05), value, lambda number: take(float(number)))
        return widgets.number(
            label, value, lambda number: take(float(number)), step=5.0 if name == "degrees" else 0.05
        )

    def _take(self, name: str, value: Any) -> None:
        self._values[name] = value
        self._changed()


def starting_values(kind: str) -> dict[str, Any]:
    """What a form of this kind says before anything was moved; it makes a valid edit."""
    found = {}
    for field in fields(KINDS[kind]):
        default = None if field.default is MISSING else field.default
        found[field.name] = STARTS.get((kind, field.name), default)
    return found


def words_of(kind: str) -> str:
    """What a kind of edit does, in one sentence."""
    text = " ".join((KINDS[kind].__doc__ or "").split("\n\n")[0].split())
    return text.partition(". ")[0].rstrip(".") + "."
