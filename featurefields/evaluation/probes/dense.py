"""What a probe of every pixel is: its truth, its outputs, its loss and its measure.

Letters: b batch · c outputs · hp wp tokens · h w pixels.
"""

from typing import Protocol, runtime_checkable

from torch import Tensor

from featurefields.readers.probe_sets.interface import ProbeSample


@runtime_checkable
class Tally(Protocol):
    """Counts pictures and gives numbers of all of them."""

    @property
    def pictures(self) -> int:
        """Pictures with a valid pixel."""
        ...

    @property
    def pixels(self) -> int:
        """Valid pixels of all pictures."""
        ...

    def result(self) -> dict[str, float]:
        """Name → number."""
        ...


@runtime_checkable
class DenseTask(Protocol):
    """A task that one linear head answers at every pixel.

    A *reading* is what the loss compares at the pixels of some size: depth (b h w), or outputs (b c h w).
    """

    @property
    def outputs(self) -> int:
        """Channels of the head."""
        ...

    @property
    def cropped(self) -> bool:
        """Whether it is measured inside the samples' crops only."""
        ...

    def has_truth(self, sample: ProbeSample) -> bool:
        """Whether this sample says anything."""
        ...

    def truth(self, sample: ProbeSample) -> tuple[Tensor, Tensor]:
        """Truth (h w …) at the sample's pixels, and which of them are valid (h w), inside and outside its crop."""
        ...

    def read(self, outputs: Tensor, size: tuple[int, int]) -> Tensor:
        """The reading of a head's outputs (b c hp wp) at `size` = (width, height)."""
        ...

    def loss(self, reading: Tensor, truth: Tensor, valid: Tensor, *, first: bool) -> Tensor:
        """What is minimised over a batch, truth (b h w …) and valid (b h w); `first` in the scale steps."""
        ...

    def mirrored(self, truth: Tensor) -> Tensor:
        """The truth (h w …) of a picture that was flipped from left to right, its pixels flipped already."""
        ...

    def turned(self, truth: Tensor, angle_deg: float) -> Tensor:
        """The truth (h w …) of a picture that was turned clockwise, its pixels turned already."""
        ...

    def tally(self) -> Tally:
        """An empty tally."""
        ...

    def measure(self, tally: Tally, reading: Tensor, truth: Tensor, valid: Tensor) -> None:
        """Count one picture: its reading (1 h w or 1 c h w), truth (h w …) and valid pixels (h w)."""
        ...
