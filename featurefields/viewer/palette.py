"""Colours of selections that people with any colour vision tell apart.

Okabe and Ito, "Color Universal Design" (2008), without black; sRGB in 0..1.
"""

Colour = tuple[float, float, float]

CURRENT: Colour = (0.902, 0.624, 0.0)
"""What is selected now."""
NAMED: tuple[Colour, ...] = (
    (0.337, 0.706, 0.914),
    (0.0, 0.620, 0.451),
    (0.800, 0.475, 0.655),
    (0.941, 0.894, 0.259),
    (0.0, 0.447, 0.698),
    (0.835, 0.369, 0.0),
)
"""Kept selections, one after the other."""
NAMES = ("sky blue", "green", "purple", "yellow", "blue", "vermilion")


def colour_of(index: int) -> Colour:
    """The colour of the selection that was kept as the index-th."""
    return NAMED[index % len(NAMED)]
