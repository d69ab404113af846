"""Which views `ff lift` lifts, and which it is measured on."""

from dataclasses import replace
from typing import TYPE_CHECKING

from featurefields.errors import FittingError

if TYPE_CHECKING:
    from featurefields.scene import Scene, View

COUNT = 8
"""Views that are lifted where nobody says how many."""
MEASURED = 12
"""Held-out views that are measured at most; `ff eval` measures all."""


def context_scene(scene: "Scene", wanted: tuple[str, ...], around: str | None) -> "Scene":
    """The scene with the views to lift as its training views and all others held out.

    `wanted` is one number or the names of views (full, file name, or file name without ending); numbers that are no
    names are indices, where there are several. Views are chosen from those that the scene does not hold out.

    Raises:
        FittingError: fewer than two views, or names together with `around`.
        UnknownNameError: no view of that name.
    """
    from featurefields.lifting.context import spread_views, views_around

    named = len(wanted) > 1 or (len(wanted) == 1 and not wanted[0].isdigit())
    if named and around is not None:
        raise FittingError(
            "--views names the views already; give --around a number of views, or leave it out"
        )
    if named:
        chosen = tuple(_view(scene, name) for name in dict.fromkeys(wanted))
    else:
        count, usable = int(wanted[0]) if wanted else COUNT, scene.split("train")
        chosen = (
            views_around(usable, scene.view(around), count)
            if around is not None
            else spread_views(usable, count)
        )
    names = {view.name for view in chosen}
    if len(names) < 2:
        raise FittingError(
            f"lifting needs at least two views, got {', '.join(names)}; name more with --views"
        )
    views = tuple(replace(view, split="train" if view.name in names else "test") for view in scene.views)
    return replace(scene, views=views)


def measured_views(scene: "Scene") -> "tuple[View, ...]":
    """At most `MEASURED` held-out views, evenly from all."""
    held = scene.split("test")
    step = max(1, -(-len(held) // MEASURED))
    return held[::step]


def _view(scene: "Scene", name: str) -> "View":
    """The view called `name`, or with that index."""
    from featurefields.errors import UnknownNameError

    try:
        return scene.view(name)
    except UnknownNameError:
        if name.isdigit() and int(name) < len(scene.views):
            return scene.views[int(name)]
        raise
