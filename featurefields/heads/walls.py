"""Surroundings at finite distance: six planes around the scene.

Letters: `...` any batch of points · p planes.

Light that depends on the direction alone is right for surroundings that are infinitely far. A floor or the walls of a
room are near: two points that mirror along the same direction see different places of it. So the mirrored ray is
followed to the polytope that the planes enclose, and the light of the surroundings is looked up along the direction
in which that place is seen from their centre. (The same correction is done with a fixed box in parallax-corrected
cube maps, Lagarde and Zanuttini 2012; here the planes are learned.)

A plane is its dual vector q, and holds the points with q·x = 1: its normal is q's direction, its distance 1 / |q|; zero
is a plane at infinity, and all of it is differentiable.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize, relu

from featurefields.maths.similarity import Similarity

FAR = 10.0
"""Distance of all planes at the start, in world units."""
CLOSEST = 0.02
"""Points nearer to a plane than this fraction of its distance count as so near."""


class Walls(nn.Module):
    """Six planes in a frame of their own: `frame_from_world` moves with the surroundings, the planes are learned."""

    def __init__(self) -> None:
        super().__init__()
        self.duals = nn.Parameter(torch.cat([torch.eye(3), -torch.eye(3)]) / FAR)
        self.rotation: Tensor
        self.origin: Tensor
        self.scale: Tensor
        self.register_buffer("rotation", torch.eye(3))
        self.register_buffer("origin", torch.zeros(3))
        self.register_buffer("scale", torch.ones(()))

    def forward(
        self, places: Float[Tensor, "... 3"], leaving: Float[Tensor, "... 3"]
    ) -> Float[Tensor, "... 3"]:
        """Unit directions, in the frame of the planes, in which their centre sees what rays from world `places`
        along unit world directions `leaving` hit; the rays' own directions where no plane is in their way."""
        local, along = self.scale * (places - self.origin) @ self.rotation.T, leaving @ self.rotation.T
        nearness = relu(along @ self.duals.T) / (1 - local @ self.duals.T).clamp(min=CLOSEST)
        return normalize(along + nearness.amax(-1, keepdim=True) * local, dim=-1)

    @torch.no_grad()
    def centre_on(self, origin: Float[Tensor, "3"]) -> None:
        """Put the centre, which must lie in free space, at a place of the world; for new planes."""
        self.origin.copy_(origin)

    def move(self, similarity: Similarity) -> None:
        """Follow a world that is moved; what is mirrored stays the same."""
        self.rotation = self.rotation @ similarity.rotation.T.to(self.rotation)
        self.origin = similarity.points(self.origin)
        self.scale = self.scale / similarity.scale
