"""In which frame a splat fits the photos: drawn from the photos' poses it must look like them.

Letters: n Gaussians · m pixels · h w pixels.

A frame is judged by the share of the photos' colour variation that the drawn pictures explain, over the pixels that
the splat covers. Every photo may have its own exposure: gain and offset of each colour are fitted. What a picture
explains of photos taken from other poses is the measure for how much that says: a wrong frame explains its own
photos no better than any others.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import interpolate

from featurefields.camera import Camera
from featurefields.errors import SceneError
from featurefields.field import FeatureField, render
from featurefields.fitting.frames import Frame, described, turned_frames
from featurefields.heads.harmonics import HarmonicsHead
from featurefields.maths.compositing import over_alpha
from featurefields.maths.similarity import Similarity
from featurefields.raster import RasterConfig, Rasterizer
from featurefields.scene import Scene, View

COVERED = 0.5
"""Pixels that the splat covers less than this do not count."""
PIXELS_MIN, SHARE_MIN = 64, 0.02
"""A photo of which fewer pixels, or a smaller share of them, are covered says nothing: few pixels fit by chance."""
NOISE = 1 / 255
"""Standard deviation of the colours that nobody has to explain."""
COARSE_PX, COARSE_VIEWS, COARSE_SPLATS = 64, 3, 50_000
"""Size of pictures, number of photos and most splats with which many frames are ranked."""
SHORTLIST = 3
"""Of many frames the best ones, that are judged with care."""


@dataclass(frozen=True, kw_only=True)
class AlignConfig:
    """When a splat fits."""

    views: int = 6
    """Photos it is compared with, spread over all of them."""
    longest_px: int = 160
    """Longer side of the compared pictures."""
    agreement_min: float = 0.5
    """Least share of the photos' variation that the drawn pictures must explain."""
    excess_min: float = 0.3
    """They must explain at least this share of what pictures from wrong poses leave unexplained."""
    seen_min: float = 0.5
    """Least share of the photos that must show enough of the splat to say something."""


@dataclass(frozen=True)
class Agreement:
    """How well pictures of a splat explain the photos.

    Attributes:
        own: share of the photos' variation explained, 0..1; 0 where nothing is covered.
        other: the same with photos from other poses; 0 where there are none.
        coverage: share of the photos' pixels that are covered.
        seen: share of the photos that show enough of the splat to say something.
    """

    own: float
    other: float
    coverage: float
    seen: float

    def fits(self, config: AlignConfig) -> bool:
        """Whether that is clearly more than chance."""
        excess = (self.own - self.other) / max(1 - self.other, 1e-9)
        return (
            self.own >= config.agreement_min and excess >= config.excess_min and self.seen >= config.seen_min
        )

    @property
    def evidence(self) -> float:
        """What ranks frames: a frame in which only some photos show the splat explains only those."""
        return self.own * self.seen

    def __str__(self) -> str:
        return (
            f"{self.own:.0%} of the photos' variation explained where a wrong pose explains {self.other:.0%}, "
            f"{self.coverage:.0%} of their pixels covered, {self.seen:.0%} of the photos show enough of it"
        )


@dataclass(frozen=True)
class Alignment:
    """The frame a splat is in, and how well that fits."""

    frame: Frame
    agreement: Agreement


@dataclass(frozen=True)
class Witness:
    """A reduced photo: camera in the world, colours, and which pixels count."""

    camera: Camera
    colours: Float[Tensor, "h w 3"]
    counted: Bool[Tensor, "h w"]

    @staticmethod
    def of(view: View, longest_px: int) -> "Witness":
        """The photo with a longer side of at most `longest_px`, averaged over the pixels that each one replaces."""
        ratio = min(1.0, longest_px / max(view.camera.size))
        camera = view.camera.resized(
            (max(1, round(view.camera.width * ratio)), max(1, round(view.camera.height * ratio)))
        )
        mask = view.picture.mask()
        counted = torch.ones(view.camera.height, view.camera.width) if mask is None else mask.float()
        shrunk = _resized(torch.cat([view.picture.image(), counted[..., None]], dim=-1), camera.size)
        return Witness(camera, shrunk[..., :3], shrunk[..., 3] > 0.99)

    def resized(self, longest_px: int) -> "Witness":
        """The same photo, smaller."""
        ratio = min(1.0, longest_px / max(self.camera.size))
        size = max(1, round(self.camera.width * ratio)), max(1, round(self.camera.height * ratio))
        both = _resized(torch.cat([self.colours, self.counted[..., None].float()], dim=-1), size)
        return Witness(self.camera.resized(size), both[..., :3], both[..., 3] > 0.99)


def _resized(picture: Float[Tensor, "h w c"], size: tuple[int, int]) -> Float[Tensor, "y x c"]:
    if size == (picture.shape[1], picture.shape[0]):
        return picture
    return interpolate(picture.movedim(-1, 0)[None], size[::-1], mode="area")[0].movedim(0, -1)


def witnesses_of(
    scene: Scene, config: AlignConfig = AlignConfig(), *, on_photo: Callable[[], object] = lambda: None
) -> list[Witness]:
    """Some photos spread over all; `on_photo` is called after each."""
    count = min(config.views, len(scene.views))
    found = []
    for index in range(count):
        found.append(Witness.of(scene.views[index * len(scene.views) // count], config.longest_px))
        on_photo()
    return found


def align(
    field: FeatureField,
    scene: Scene,
    frames: Sequence[Frame],
    witnesses: Sequence[Witness],
    *,
    rasterizer: Rasterizer,
    turned: bool = True,
    config: AlignConfig = AlignConfig(),
) -> Alignment:
    """The one of `frames`, else of the same with axes turned (`turned`), in which the splat fits the photos best.

    `field` is the splat as its file has it, with a head "rgb"; it is not moved, the cameras are.

    Raises:
        SceneError: it fits in none.
    """
    smaller = [witness.resized(COARSE_PX) for witness in _spread(witnesses, COARSE_VIEWS)]
    fewer = thinned(field, COARSE_SPLATS)
    best: Alignment | None = None
    for tried in (frames, turned_frames(frames) if turned else []):
        shortlist = list(tried)
        if len(tried) > SHORTLIST:
            found = [
                (judge(fewer, frame, scene, smaller, rasterizer=rasterizer, strangers=False).evidence, frame)
                for frame in tried
            ]
            shortlist = [frame for _, frame in sorted(found, key=lambda pair: -pair[0])[:SHORTLIST]]
        judged = [
            Alignment(frame, judge(field, frame, scene, witnesses, rasterizer=rasterizer))
            for frame in shortlist
        ]
        fitting = [alignment for alignment in judged if alignment.agreement.fits(config)]
        if fitting:
            return max(fitting, key=lambda alignment: alignment.agreement.evidence)
        best = max([*judged, *([best] if best else [])], key=lambda alignment: alignment.agreement.evidence)
    assert best is not None
    turns = ", and these with axes turned" if turned else ""
    raise SceneError(
        f"the splat fits the photos in {scene.folder} in no frame that was tried ({described(frames)}{turns}); best is "
        f"{best.frame.name} with {best.agreement}; check that it shows this scene, give it in the photos' frame, or "
        "say with --transform FILE.json how the frames lie"
    )


@torch.no_grad()
def judge(
    field: FeatureField,
    frame: Frame,
    scene: Scene,
    witnesses: Sequence[Witness],
    *,
    rasterizer: Rasterizer,
    strangers: bool = True,
) -> Agreement:
    """How well the splat, if it is in `frame`, explains these photos; without `strangers`, `other` is 0."""
    splat_from_world = frame.splat_from_capture.after(_exact(scene.world_from_capture).inverse)
    config = RasterConfig(near=RasterConfig().near * splat_from_world.scale)
    own, other, covered, seen = _Fit(), _Fit(), 0.0, 0
    for witness in witnesses:
        pose = splat_from_world.pose(witness.camera.world_from_camera.double()).float()
        camera = replace(witness.camera, world_from_camera=pose).to(field.splats.means)
        drawn = render(field, camera, rasterizer=rasterizer, heads=("rgb",), config=config)
        colours = over_alpha(drawn["rgb"]["total"], drawn.alpha).cpu()
        shown = (drawn.alpha.cpu() > COVERED) & witness.counted
        covered += float(shown.sum()) / max(int(witness.counted.sum()), 1) / len(witnesses)
        if int(shown.sum()) < max(PIXELS_MIN, SHARE_MIN * shown.numel()):
            continue
        seen += 1
        own.add(colours[shown], witness.colours[shown])
        for stranger in (entry for entry in witnesses if strangers and entry is not witness):
            other.add(colours[shown], _resized(stranger.colours, witness.camera.size)[shown])
    return Agreement(own.explained, other.explained, covered, seen / max(len(witnesses), 1))


class _Fit:
    """Sums of how well colours explain others, photo by photo, each with its own gain >= 0 and offset a channel."""

    def __init__(self) -> None:
        self.variation, self.left = 0.0, 0.0

    def add(self, drawn: Float[Tensor, "m 3"], photo: Float[Tensor, "m 3"]) -> None:
        a, b = (colours.double() - colours.double().mean(0) for colours in (drawn, photo))
        gain = ((a * b).sum(0) / a.square().sum(0).clamp(min=1e-12)).clamp(min=0)
        self.left += float((b - gain * a).square().sum())
        self.variation += float((b.square() + NOISE**2).sum())

    @property
    def explained(self) -> float:
        return 1 - min(self.left / self.variation, 1.0) if self.variation else 0.0


def thinned(field: FeatureField, count: int) -> FeatureField:
    """At most `count` of the Gaussians, evenly picked and enlarged so that surfaces stay about as covered.

    Of spherical harmonics only the constant band is kept.
    """
    step = max(1, -(-len(field) // count))
    splats = field.splats.select(torch.arange(0, len(field), step, device=field.splats.means.device))
    splats = replace(splats, log_scales=splats.log_scales + 0.5 * math.log(step))
    if not isinstance(field.heads["rgb"], HarmonicsHead):
        return field.with_splats(splats)
    constant = splats.with_columns(harmonics=splats.columns["harmonics"][:, :1])
    return replace(field, splats=constant, heads={"rgb": HarmonicsHead(0)})


def _spread(witnesses: Sequence[Witness], count: int) -> Iterable[Witness]:
    return witnesses[:: max(1, len(witnesses) // count)][:count]


def _exact(similarity: Similarity) -> Similarity:
    return Similarity(similarity.scale, similarity.rotation.double(), similarity.translation.double())
