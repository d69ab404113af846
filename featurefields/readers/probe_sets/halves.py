"""Which scenes are held out."""

from collections.abc import Collection

from featurefields.errors import SceneError

SHARE = 4
"""One in so many scenes is held out where nobody says which."""


def held_out_scenes(scenes: Collection[str], chosen: Collection[str]) -> frozenset[str]:
    """`chosen`, or the last quarter of the scenes by name (at least one).

    All may be held out: views of one scene can be matched without training anything.

    Raises:
        SceneError: a chosen scene does not exist.
    """
    known = sorted(set(scenes))
    unknown = sorted(set(chosen) - set(known))
    if unknown:
        raise SceneError(
            f"cannot hold out scene '{unknown[0]}': there is none of that name; there are {some(known)}"
        )
    return frozenset(chosen) or frozenset(known[len(known) - max(1, len(known) // SHARE) :])


def some(names: Collection[str]) -> str:
    """The first few names."""
    listed = list(names)
    return ", ".join(listed[:5]) + (", …" if len(listed) > 5 else "")
