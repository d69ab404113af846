"""From stride 2 to full resolution, and what else there is to say about every pixel.

Letters: h w pixels at stride 2 · H W at full resolution.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad, unfold

CLUES = 8
"""Numbers about the estimate that the head sees beside the picture."""
SAID = 2
"""What the head says of every pixel: the logits of its depth being right, and of there being a surface."""


class Refine(nn.Module):
    """Convex upsampling (Teed & Deng 2020) led by the picture, and a head for what is sure."""

    def __init__(self, edges: int) -> None:
        super().__init__()
        self.shared = nn.Sequential(
            nn.Conv2d(edges + CLUES, 48, 3, padding=1), nn.ReLU(), nn.Conv2d(48, 48, 3, padding=1), nn.ReLU()
        )
        self.weights, self.said = nn.Conv2d(48, 36, 1), nn.Conv2d(48, SAID * 4, 1)
        self.correction = nn.Conv2d(48, 1, 1)
        for last in (self.said, self.correction):
            for parameter in last.parameters():
                nn.init.zeros_(parameter)

    def forward(
        self, place: Float[Tensor, "h w"], edges: Float[Tensor, "1 c h w"], clues: Float[Tensor, "k h w"]
    ) -> tuple[Float[Tensor, "H W"], Float[Tensor, "2 H W"]]:
        """The places at full resolution, and what the head says there."""
        hidden = self.shared(torch.cat([edges, clues[None]], 1))
        place = place + self.correction(hidden)[0, 0].float()
        fine = upsampled(place, self.weights(hidden)[0].float())
        return fine, nn.functional.pixel_shuffle(self.said(hidden).float(), 2)[0]


def upsampled(coarse: Float[Tensor, "h w"], logits: Float[Tensor, "36 h w"]) -> Float[Tensor, "H W"]:
    """Every fine pixel as a convex combination of the 3 x 3 coarse pixels around it; weights softmax(logits).

    Without a preference (all logits 0) that is a mean over 3 x 3.
    """
    h, w = coarse.shape
    around = unfold(pad(coarse[None, None], (1, 1, 1, 1), mode="replicate"), 3).reshape(9, 1, h, w)
    weights = torch.softmax(logits.reshape(9, 4, h, w), 0)
    return nn.functional.pixel_shuffle((weights * around).sum(0)[None], 2)[0, 0]


def clue_maps(*maps: Float[Tensor, "h w"]) -> Float[Tensor, "k h w"]:
    """The maps, and zeros up to the number the head expects."""
    stacked = torch.stack([clue.float() for clue in maps])
    return torch.cat([stacked, stacked.new_zeros(CLUES - len(maps), *stacked.shape[1:])])
