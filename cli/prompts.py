"""Prompts as users write them: clicks, boxes, scribbles, masks in photos, and words."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from featurefields.errors import PromptError

from .options import OptionalName
from .photos import click_of
from .viewpoints import view_name

if TYPE_CHECKING:
    from torch import Tensor

    from featurefields.camera import Camera
    from featurefields.field import FeatureField
    from featurefields.scene import Picture, Scene
    from featurefields.segmentation.prompts import Box, MaskPrompt, PixelPrompt, Prompt, Scribble


def _repeated(metavar: str) -> object:
    return tyro.conf.arg(metavar=metavar, help_behavior_hint="(may be repeated)")


Clicks = tyro.conf.UseAppendAction[Annotated[tuple[str, ...], _repeated("[VIEW:]X,Y")]]
Boxes = tyro.conf.UseAppendAction[Annotated[tuple[str, ...], _repeated("[VIEW:]X0,Y0,X1,Y1")]]
Scribbles = tyro.conf.UseAppendAction[Annotated[tuple[str, ...], _repeated("[VIEW:]'X,Y X,Y …'")]]
Masks = tyro.conf.UseAppendAction[Annotated[tuple[str, ...], _repeated("[VIEW:]FILE")]]
Phrases = tyro.conf.UseAppendAction[Annotated[tuple[str, ...], _repeated("WORDS")]]


@dataclass(frozen=True, kw_only=True)
class PromptOptions:
    """What to select. Pixels are those of the photo file, the top left one is 0,0; VIEW: names another photo."""

    view: OptionalName = None
    """Photo that is meant where a prompt names none (full name, file name, or file name without ending); the first
    one when not given."""
    click: Clicks = ()
    """Pixel that shows the object."""
    box: Boxes = ()
    """Box around the whole object: its left, upper, right and lower pixel."""
    scribble: Scribbles = ()
    """Stroke on the object, through pixels with spaces between them."""
    brush: Annotated[float, tyro.conf.arg(metavar="PX")] = 3.0
    """Radius of strokes, in pixels of the photo."""
    mask: Masks = ()
    """Picture that is not zero where the photo shows the object, all of it; in the shape of the photo."""
    text: Phrases = ()
    """What the object is called; needs features of an extractor with a text tower."""
    negative: Annotated[Clicks, _repeated("[VIEW:]PROMPT")] = ()
    """What is not meant: a click, box, stroke or mask, written as above."""
    negative_text: Phrases = ()
    """What something that is not meant is called."""

    @property
    def given(self) -> bool:
        """Whether there are any prompts."""
        return any(
            (self.click, self.box, self.scribble, self.mask, self.text, self.negative, self.negative_text)
        )

    @property
    def positive(self) -> bool:
        """Whether any prompt says what to select."""
        return any((self.click, self.box, self.scribble, self.mask, self.text))

    def told(self) -> list[str]:
        """All prompts in words."""
        kinds = (("", self.click), ("box ", self.box), ("stroke ", self.scribble), ("mask ", self.mask))
        lines = [f"{kind}{text}" for kind, texts in kinds for text in texts]
        lines += [f"'{phrase}'" for phrase in self.text]
        return (
            lines
            + [f"not {text}" for text in self.negative]
            + [f"not '{text}'" for text in self.negative_text]
        )


def prompts_of(options: PromptOptions, field: "FeatureField", scene: "Scene | None") -> "list[Prompt]":
    """The prompts, positive ones first, in the pictures of the field's views.

    Pixels are those of the photo files; of the drawn views where the photos are gone.

    Raises:
        PromptError: one is not written as it should be, or lies outside its photo.
        UnknownNameError: the field has no such view.
        SceneError: a mask cannot be read, or has another shape than the photo.
    """
    from featurefields.segmentation.prompts import Text

    canvas = Canvases.of(options.view, field, scene)
    prompts: list[Prompt] = [canvas.click(text) for text in options.click]
    prompts += [canvas.box(text) for text in options.box]
    prompts += [canvas.scribble(text, options.brush) for text in options.scribble]
    prompts += [canvas.mask(text) for text in options.mask]
    prompts += [Text(phrase) for phrase in options.text]
    prompts += [canvas.any_kind(text, options.brush, positive=False) for text in options.negative]
    return prompts + [Text(phrase, positive=False) for phrase in options.negative_text]


@dataclass(frozen=True)
class Canvases:
    """The pictures that prompts are given in, and the one that is meant where a prompt names none."""

    field: "FeatureField"
    scene: "Scene | None"
    pictures: "dict[str, Picture]"
    default: str

    @staticmethod
    def of(view: str | None, field: "FeatureField", scene: "Scene | None") -> "Canvases":
        """Raises `UnknownNameError` when the field has no such view."""
        names = list(field.about.cameras)
        pictures = {} if scene is None else {entry.name: entry.picture for entry in scene.views}
        return Canvases(field, scene, pictures, names[0] if view is None else view_name(view, names))

    def click(self, text: str, *, positive: bool = True) -> "PixelPrompt":
        view, rest = self.split(text)
        return click_of(rest, view, self.field, self.scene, positive=positive)

    def box(self, text: str, *, positive: bool = True) -> "Box":
        from featurefields.segmentation.prompts import Box

        view, rest = self.split(text)
        numbers = _numbers(rest)
        if len(numbers) != 4:
            raise PromptError(f"a box is four numbers x0,y0,x1,y1 (pixels of the photo), got '{text}'")
        x0, y0, x1, y1 = numbers
        x1, y1 = x1 + 1, y1 + 1  # the last pixel is in the box
        corners = [self.in_camera(view, x, y) for x in (x0, x1) for y in (y0, y1)]
        xs, ys = ([corner[axis] for corner in corners] for axis in (0, 1))
        box = Box(min(xs), min(ys), max(xs), max(ys), self.camera(view), positive, rest)
        if not (x0 < x1 and y0 < y1):
            raise PromptError(
                f"the box {rest} is empty; give its left, upper, right and lower pixel as x0,y0,x1,y1"
            )
        box.check()
        return box

    def scribble(self, text: str, brush: float, *, positive: bool = True) -> "Scribble":
        from featurefields.segmentation.prompts import Scribble

        view, rest = self.split(text)
        pairs = [_numbers(pair) for pair in rest.replace(";", " ").split()]
        if not pairs or any(len(pair) != 2 for pair in pairs):
            raise PromptError(f"a stroke is pixels 'x,y x,y …' with spaces between them, got '{text}'")
        points = tuple(self.in_camera(view, x + 0.5, y + 0.5) for x, y in pairs)
        camera = self.camera(view)
        ratio = camera.width / self.size(view)[0]
        stroke = Scribble(points, camera, brush * ratio, positive, rest)
        stroke.check()
        return stroke

    def mask(self, text: str, *, positive: bool = True) -> "MaskPrompt":
        from featurefields.segmentation.prompts import MaskPrompt

        view, rest = (
            (self.default, text) if Path(text).exists() else self.split(text, separator=text.find(":"))
        )
        if not Path(rest).is_file():
            raise PromptError(
                f"the mask {rest} does not exist; give a picture that is not zero on the object"
            )
        prompt = MaskPrompt(self.mask_pixels(view, Path(rest)), self.camera(view), positive, rest)
        prompt.check()
        return prompt

    def any_kind(self, text: str, brush: float, *, positive: bool) -> "PixelPrompt":
        """A click, box, stroke or mask, told apart by how it is written."""
        if Path(text).suffix.lower() in MASK_ENDINGS:
            return self.mask(text, positive=positive)
        _, rest = self.split(text)
        if any(mark in rest.strip() for mark in " ;"):
            return self.scribble(text, brush, positive=positive)
        if rest.count(",") == 3:
            return self.box(text, positive=positive)
        return self.click(text, positive=positive)

    def split(self, text: str, separator: int | None = None) -> tuple[str, str]:
        """The view that a prompt names, or the default one, and the rest of its text."""
        at = text.rfind(":") if separator is None else separator
        if at < 0:
            return self.default, text
        return view_name(text[:at], list(self.field.about.cameras)), text[at + 1 :]

    def camera(self, view: str) -> "Camera":
        return self.field.about.cameras[view]

    def size(self, view: str) -> tuple[int, int]:
        """Of the photo file; of the drawn view where the photo is gone."""
        return self.pictures[view].photo_size() if view in self.pictures else self.camera(view).size

    def in_camera(self, view: str, x: float, y: float) -> tuple[float, float]:
        """Where a point of the photo file (continuous) is in the picture of the view's camera."""
        return self.pictures[view].photo_to_camera(x, y) if view in self.pictures else (x, y)

    def mask_pixels(self, view: str, path: Path) -> "Tensor":
        """A mask file in the pixels of the view's camera (h w)."""
        from dataclasses import replace

        from featurefields.images import read_mask, read_size
        from featurefields.readers.picture import PhotoFile

        picture, camera = self.pictures.get(view), self.camera(view)
        size = read_size(path)
        if not isinstance(picture, PhotoFile) or (size == camera.size and size != picture.photo_size()):
            return read_mask(path)  # of the drawn view
        mask = replace(picture, mask_path=path).mask()
        assert mask is not None, "it was just given"
        return mask


MASK_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")


def _numbers(text: str) -> list[float]:
    """The finite numbers of "a,b,c"; none when it is anything else."""
    try:
        numbers = [float(part) for part in text.replace(" ", "").split(",")]
    except ValueError:
        return []
    return numbers if all(number - number == 0 for number in numbers) else []
