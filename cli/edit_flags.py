"""The flags of `ff edit`, in the order in which they are carried out."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from featurefields.errors import PromptError

from .options import Decimal

if TYPE_CHECKING:
    from featurefields.editing.edits import Edit
    from featurefields.field import FeatureField

Colour = Annotated[str | None, tyro.conf.arg(metavar="R,G,B", help_behavior_hint="")]
Fraction = Annotated[float | None, tyro.conf.arg(metavar="0..1", help_behavior_hint="")]
Vector = Annotated[tuple[float, float, float] | None, tyro.conf.arg(metavar="X Y Z", help_behavior_hint="")]
Factors = Annotated[tuple[float, float, float] | None, tyro.conf.arg(metavar="R G B", help_behavior_hint="")]
NEEDS_SELECTION = ("hide", "delete", "keep")
UPRIGHT = 0.996
"""Cosine from which on the cameras' mean up is taken to be the nearest axis (5 degrees)."""


@dataclass(frozen=True, kw_only=True)
class LookFlags:
    """What things look like."""

    remove_specular: bool = False
    """Take the reflections away."""
    strength: Fraction = None
    """How much of them --remove-specular takes; all when not given."""
    metals: Literal["black", "base-colour"] = "black"
    """What --remove-specular leaves of metals, which have no matter: nothing, or their reflectance as a matte colour
    in the scene's light."""
    keep_veil: bool = False
    """Let --remove-specular leave on matter what is mirrored alike from everywhere, which it takes otherwise as far
    as the darkest mirroring places of the field tell how much that is."""
    scale_specular: Decimal = None
    """Times as much reflected light."""
    tint_specular: Colour = None
    """Filter reflections with a colour (0..255 each)."""
    recolor: Colour = None
    """Give matter this mean colour (0..255 each); shading and texture stay."""
    layer: Literal["indep", "dep", "both", "total"] = "indep"
    """What --recolor colours: matter, reflections, both, or the total (metals)."""
    flat: bool = False
    """Let --recolor replace shading and texture too."""
    roughness: Fraction = None
    """Set the perceptual roughness of reflections, 0 (mirror) to 1 (matte)."""
    scale_roughness: Decimal = None
    """Times the perceptual roughness."""
    tint_surroundings: Factors = None
    """Times as much red, green and blue light of the surroundings, for everything that mirrors them."""


@dataclass(frozen=True, kw_only=True)
class PlaceFlags:
    """Where things are, in the frame and unit of the photos' poses and of exported splats."""

    rotate: Annotated[float | None, tyro.conf.arg(metavar="DEGREES", help_behavior_hint="")] = None
    """Turn about the selection's centre."""
    axis: Vector = None
    """Axis of --rotate; up when not given."""
    scale: Decimal = None
    """Times as large, about the selection's centre."""
    move: Vector = None
    """Move along the axes."""
    duplicate: Vector = None
    """Put a copy there, so far along the axes."""
    copy: Annotated[str, tyro.conf.arg(metavar="NAME", help_behavior_hint="")] = "copy"
    """What --selection calls the copy later."""
    frame_world: bool = False
    """Axes and unit are the field's own."""


@dataclass(frozen=True, kw_only=True)
class PresenceFlags:
    """What is there."""

    hide: bool = False
    """Make the selection invisible; it stays in the field."""
    show: bool = False
    """Bring back what was hidden."""
    delete: bool = False
    """Take the selection out, and with it what would be left of it: its halo, and bits that touch nothing else."""
    exact: bool = False
    """Let --delete take out the selection and nothing else."""
    keep: bool = False
    """Take everything else out."""


@dataclass(frozen=True, kw_only=True)
class EditFlags:
    """Edits; several are carried out in the order of this list."""

    look: tyro.conf.OmitArgPrefixes[LookFlags] = LookFlags()
    place: tyro.conf.OmitArgPrefixes[PlaceFlags] = PlaceFlags()
    presence: tyro.conf.OmitArgPrefixes[PresenceFlags] = PresenceFlags()

    def check(self) -> None:
        """Raise `PromptError` when the flags contradict each other, or one says how but not what."""
        look, place, presence = self.look, self.place, self.presence
        if presence.delete and presence.keep:
            raise PromptError("--delete and --keep together would leave nothing; choose one")
        if presence.hide and presence.show:
            raise PromptError("--hide and --show are opposites; choose one")
        details = {
            "--strength": (look.strength is not None, "--remove-specular", look.remove_specular),
            "--metals": (look.metals != "black", "--remove-specular", look.remove_specular),
            "--keep-veil": (look.keep_veil, "--remove-specular", look.remove_specular),
            "--layer": (look.layer != "indep", "--recolor R,G,B", look.recolor is not None),
            "--flat": (look.flat, "--recolor R,G,B", look.recolor is not None),
            "--axis": (place.axis is not None, "--rotate DEGREES", place.rotate is not None),
            "--copy": (place.copy != "copy", "--duplicate X Y Z", place.duplicate is not None),
            "--exact": (presence.exact, "--delete", presence.delete),
        }
        for option, (given, of, there) in details.items():
            if given and not there:
                raise PromptError(f"{option} says how, but not what; pass {of} with it")

    def edits(self, field: "FeatureField") -> "list[Edit]":
        """The edits that were asked for, in their order; the field tells what is up.

        Raises:
            PromptError: a malformed colour, or a value out of range.
        """
        return [*_looks(self.look), *_places(self.place, field), *_presences(self.presence)]


def _looks(flags: LookFlags) -> "list[Edit]":
    from featurefields.editing import edits as kinds

    edits: list[Edit] = []
    if flags.remove_specular:
        strength = 1.0 if flags.strength is None else flags.strength
        edits.append(kinds.RemoveSpecular(strength, flags.metals, not flags.keep_veil))
    if flags.scale_specular is not None:
        edits.append(kinds.ScaleSpecular(flags.scale_specular))
    if flags.tint_specular is not None:
        edits.append(kinds.TintSpecular(parse_colour(flags.tint_specular)))
    if flags.recolor is not None:
        edits.append(kinds.Recolor(parse_colour(flags.recolor), flags.layer, flags.flat))
    if flags.roughness is not None:
        edits.append(kinds.SetRoughness(flags.roughness))
    if flags.scale_roughness is not None:
        edits.append(kinds.ScaleRoughness(flags.scale_roughness))
    if flags.tint_surroundings is not None:
        edits.append(kinds.TintSurroundings(flags.tint_surroundings))
    return edits


def _places(flags: PlaceFlags, field: "FeatureField") -> "list[Edit]":
    from featurefields.editing import edits as kinds

    edits: list[Edit] = []
    frame = "world" if flags.frame_world else "photos"
    if flags.rotate is not None:
        axis = flags.axis or upwards(field, in_world=flags.frame_world)
        edits.append(kinds.Rotate(flags.rotate, axis, frame))
    if flags.scale is not None:
        edits.append(kinds.Scale(flags.scale))
    if flags.move is not None:
        edits.append(kinds.Move(flags.move, frame))
    if flags.duplicate is not None:
        edits.append(kinds.Duplicate(flags.duplicate, frame, flags.copy))
    return edits


def _presences(flags: PresenceFlags) -> "list[Edit]":
    from featurefields.editing import edits as kinds

    edits: list[Edit] = []
    if flags.hide:
        edits.append(kinds.Hide())
    if flags.show:
        edits.append(kinds.Show())
    if flags.delete:
        edits.append(kinds.Delete(clean_up=not flags.exact))
    if flags.keep:
        edits.append(kinds.Keep())
    return edits


def upwards(field: "FeatureField", *, in_world: bool) -> tuple[float, float, float]:
    """The cameras' up; an axis where it is nearly that; z without cameras."""
    from featurefields.visualization.paths import mean_up

    cameras = list(field.about.cameras.values())
    if not cameras:
        return 0.0, 0.0, 1.0
    up = mean_up(cameras)
    if not in_world:
        up = field.about.world_from_capture.rotation.double().T @ up
    if float(up.abs().max()) > UPRIGHT:
        up = up.round()
    x, y, z = up.tolist()
    return x, y, z


def parse_colour(text: str) -> tuple[float, float, float]:
    """Fractions 0..1 of "R,G,B" with whole numbers 0..255. Raises `PromptError` otherwise."""
    try:
        red, green, blue = (int(part) for part in text.split(","))
    except ValueError as error:
        raise PromptError(f"a colour is three whole numbers R,G,B from 0 to 255, got '{text}'") from error
    if not all(0 <= value <= 255 for value in (red, green, blue)):
        raise PromptError(f"a colour is three whole numbers R,G,B from 0 to 255, got '{text}'")
    return red / 255, green / 255, blue / 255
