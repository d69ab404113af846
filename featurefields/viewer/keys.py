"""Keys of the viewer, and what they do. Letters that move viser's camera (w a s d q e, arrows) are left alone."""

from collections.abc import Mapping

KEYS: Mapping[str, tuple[str, str]] = {
    "v": ("tool move", "look around only"),
    "c": ("tool click", "click on objects"),
    "b": ("tool box", "drag a box around an object"),
    "f": ("tool stroke", "paint over an object"),
    "g": ("tool lasso", "draw around an object"),
    "x": ("sign", "switch between + (this) and - (not this)"),
    "n": ("next candidate", "next of the selections that may be meant"),
    "i": ("invert", "select the rest instead"),
    "k": ("keep", "keep the selection under the name in the panel"),
    "Escape": ("clear", "select nothing, give up the edit that is tried"),
    "Enter": ("apply", "carry out the edit that is tried"),
    "t": ("try", "try the edit of the panel"),
    "ctrl+z": ("undo", "take back the last change"),
    "z": ("undo", "take back the last change"),
    "ctrl+y": ("redo", "do again what was taken back"),
    "ctrl+shift+z": ("redo", "do again what was taken back"),
    "y": ("redo", "do again what was taken back"),
    "l": ("next layer", "next layer"),
    "L": ("previous layer", "layer before"),
    "o": ("original", "edited scene, or the original"),
    "p": ("split", "before and after side by side"),
    "m": ("overlay", "show or hide selections"),
    "u": ("frustums", "show or hide the cameras of the photos"),
    "]": ("next photo", "go to the next photo"),
    "[": ("previous photo", "go to the photo before"),
    "r": ("record", "add this place to the camera path"),
    "?": ("help", "these keys"),
}
"""Key as the page sends it → (action, what it does)."""


def help_table() -> str:
    """All keys as a markdown table, one line an action."""
    actions: dict[str, tuple[list[str], str]] = {}
    for key, (action, words) in KEYS.items():
        actions.setdefault(action, ([], words))[0].append(f"`{key}`")
    lines = [f"| {' '.join(keys)} | {words} |" for keys, words in actions.values()]
    return "\n".join(["| key | |", "|---|---|", *lines])
