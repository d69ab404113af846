"""What browsers look at: the document as scenes to draw, and the photos' places in it.

Letters: n Gaussians.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from featurefields.camera import Camera
from featurefields.viewer.cameras import Pose, nearest
from featurefields.viewer.document import Document
from featurefields.viewer.drawing import STRENGTH, Mark, Painter, Seen, overview
from featurefields.viewer.palette import CURRENT, Colour, colour_of
from featurefields.visualization.paths import looked_at, mean_up

SAME_PLACE = 1e-3


class Stage:
    """Attributes:
    document: what is worked on.
    painter: draws it.
    """

    def __init__(self, document: Document, painter: Painter) -> None:
        self.document, self.painter = document, painter

    @property
    def version(self) -> int:
        """Grows with every change of what is shown."""
        return self.document.version

    @property
    def cameras(self) -> dict[str, Camera]:
        """Cameras of the photos, by name."""
        return dict(self.document.base.about.cameras)

    @property
    def photos(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self.document.base.about.cameras)

    def first(self) -> tuple[Camera, Float[Tensor, "3"] | None, float]:
        """Where a browser stands at first: a camera, the scene's up if it is known, and how far away the scene is."""
        cameras = list(self.cameras.values())
        if not cameras:
            return overview(self.document.base), None, 1.0
        distance = (looked_at(cameras).double() - cameras[0].position.double()).norm()
        return cameras[0], mean_up(cameras), float(distance.clamp(min=0.05))

    def seen(self, *, original: bool, marked: bool) -> Seen:
        """The scene before or after edits, with selections when `marked`."""
        document, shown, marks = self.document, self.document.edits.shown, []
        strength = 0.0 if document.editing else STRENGTH  # what was edited should be seen, inside its outline

        def mark(mask: Tensor, colour: Colour) -> Mark:
            return Mark(mask.cpu() if original else shown.rows(mask.cpu()), colour, strength)

        selection = document.selections.current
        if marked:
            for name, look in document.selections.looks.items():
                mask = document.session.kept[name].selection.mask
                if look.shown and not (selection is not None and torch.equal(mask, selection.mask)):
                    marks.append(mark(mask, colour_of(look.colour)))
            if selection is not None:
                marks.append(mark(selection.mask, CURRENT))
        score = None if selection is None else selection.score.float().cpu()
        if score is not None and not original:
            score = _along(score, shown.identities)
        return Seen(document.base if original else shown.field, tuple(marks), score)

    def photo_at(self, pose: Pose) -> str | None:
        """The photo that was taken from just there."""
        name = self.photo_near(pose)
        if name is None:
            return None
        return name if Pose.of(self.cameras[name]).is_near(pose, SAME_PLACE) else None

    def photo_near(self, pose: Pose) -> str | None:
        """The photo that was taken from nearest; None when there are none."""
        cameras = self.cameras
        return nearest(cameras, pose.camera(64)) if cameras else None


def _along(values: Float[Tensor, "m"], identities: Int[Tensor, "n"]) -> Float[Tensor, "n"]:
    """Values of the base's Gaussians for other rows; 0 for copies."""
    at = identities.cpu()
    found = torch.zeros(len(at))
    known = at < len(values)
    found[known] = values[at[known]]
    return found
