"""How one browser looks at the scene: layer, before or after, size, tool in hand."""

from dataclasses import dataclass
from typing import Literal

TOOLS = ("click", "box", "stroke", "lasso", "move")
Tool = Literal["click", "box", "stroke", "lasso", "move"]
SHOWS = ("edited", "original", "split")
Shows = Literal["edited", "original", "split"]

TOLD = {
    "click": "click on an object",
    "box": "drag a box around an object",
    "stroke": "paint over an object",
    "lasso": "draw around an object",
    "move": "drag to turn, scroll to come nearer",
}
"""What a tool is for."""


@dataclass(frozen=True)
class View:
    """Attributes:
    layer: what is drawn.
    shows: the edited scene, the original, or both beside each other.
    divide: where the line between both is, 0..1 of the width.
    overlay: whether selections are shown.
    longest: pixels of the longer side of sharp pictures.
    tool: what dragging and clicking in the picture does.
    negative: whether prompts say "not this".
    frustums: whether the cameras of the photos are shown.
    """

    layer: str = "colour"
    shows: Shows = "edited"
    divide: float = 0.5
    overlay: bool = True
    longest: int = 768
    tool: Tool = "click"
    negative: bool = False
    frustums: bool = False

    @property
    def words(self) -> str:
        """What the tool in hand does, for people."""
        if self.tool == "move":
            return f"**look around**: {TOLD[self.tool]}"
        sign = "−, *not* this" if self.negative else "+, this"
        turned = "Shift or right button: " if self.tool == "click" else "Shift: "
        return f"**{self.tool}** ({sign}): {TOLD[self.tool]}. {turned}{'+' if self.negative else '−'}"
