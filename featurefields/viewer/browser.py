"""One browser that is connected: where it looks from, how, and the pictures it gets.

While it moves, the browser draws splats itself (or gets small pictures); when it has stood still for a moment it gets
a sharp picture from the renderer.
"""

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from viser import ClientHandle

from featurefields.camera import Camera
from featurefields.viewer.cameras import Pose, up_and_target
from featurefields.viewer.drawing import SIMILARITY
from featurefields.viewer.splats import browser_splats
from featurefields.viewer.stage import Stage
from featurefields.viewer.view import View
from featurefields.viewer.worker import Worker
from featurefields.visualization.comparison import wipe

SETTLED_S = 0.12
"""A browser that has sent no movement for so long stands still."""
MOVING_PX = 256
"""Longer side of pictures of a movement, for browsers that draw no splats."""
QUALITY = 92
PLAIN_KEPT = 6
SPLATS_WAIT_S = 0.4
"""Splats are sent when nothing has changed for so long."""
SPLATS = "/splats"
ARRIVED = 1e-3
"""So near to where it was sent, in distances to what it looks at, a browser has arrived."""
FIRST_TRIES, FIRST_WAIT_S = 10, 1.0
"""A page that has just been opened is sent to its place so often, unless it says after so long that it is there."""

Still = NDArray[np.uint8]


@dataclass(frozen=True)
class Shot:
    """A picture that was delivered: from where, how, of which version."""

    pose: Pose
    view: View
    version: int


class Browser:
    """Attributes:
    view: how it looks at the scene.
    pose: where it looks from.
    last: what it shows; None before the first picture, and while it moves.
    """

    def __init__(
        self, client: ClientHandle, stage: Stage, worker: "Worker[Any, Still]", view: View, *, splats: bool
    ) -> None:
        self.client, self._stage, self._worker, self.view = client, stage, worker, view
        self.pose = pose_of(client)
        self.last: Shot | None = None
        self._plain: OrderedDict[tuple[Any, ...], tuple[object, Tensor]] = OrderedDict()
        self._splats: Any = None
        self._wants_splats, self._sent, self._moving = splats, -1, False
        self._sky = np.full(3, 255, np.uint8)
        self.distance = 1.0
        self._goal: Pose | None = None
        self._arrived = False
        client.camera.on_update(lambda _: self.moved())

    @property
    def number(self) -> int:
        return self.client.client_id

    # Where it looks from

    def moved(self) -> None:
        """The browser told where it is: it moves, or has moved."""
        pose = pose_of(self.client)
        if pose == self.pose:
            return
        self.pose, self.last = pose, None
        goal, reach = self._goal, ARRIVED * self.distance
        arrived = goal is not None and goal.is_near(pose, reach)
        turning = goal is not None and not self._arrived and goal.is_near(pose, reach, turn=1.0)
        if not arrived and not turning:  # else it jumps: what it shows stays until the sharp picture comes
            self._show_moving(pose)
        self._arrived = self._arrived or arrived
        self.refresh(wait_s=SETTLED_S)

    def begin_at(self, camera: Camera, distance: float, tries: int = FIRST_TRIES) -> None:
        """`go_to`, again and again until the page says that it is there: one that still starts may miss it."""
        self.go_to(camera, distance)

        def look(_: Any) -> None:
            if not self._arrived and tries > 1:
                nudged = camera.position.double().cpu().numpy() + ARRIVED * distance
                self.client.camera.position = nudged  # viser sends nothing that it believes to have sent
                self.begin_at(camera, distance, tries - 1)

        self._worker.wish((self.number, "arrival"), lambda: np.empty(0, np.uint8), look, wait_s=FIRST_WAIT_S)

    def go_to(self, camera: Camera, distance: float) -> None:
        """Stand where a camera stands, looking at something so far away."""
        pose, (up, target) = Pose.of(camera), up_and_target(camera, distance)
        self._goal, self._arrived = pose, False
        handle = self.client.camera
        with self.client.atomic():
            handle.up_direction = self._upright(up, camera)
            handle.position = np.array(pose.position)
            handle.look_at = target
            handle.wxyz = np.array(pose.wxyz)
            handle.fov = pose.fov

    def _upright(self, up: NDArray[np.float64], camera: Camera) -> NDArray[np.float64]:
        """The scene's up where the camera is not rolled against it."""
        known = np.array(self.client.camera.up_direction, dtype=float)
        right = camera.world_from_camera[:3, 0].double().cpu().numpy()
        return known if abs(float(known @ right)) < 0.2 and float(known @ up) > 0.1 else up

    # Pictures

    def change(self, **settings: Any) -> None:
        """Look at the scene otherwise."""
        self.view = replace(self.view, **settings)
        self.refresh()

    def refresh(self, *, wait_s: float = 0.0) -> None:
        """A sharp picture is wanted, of whatever is then."""
        pose, view = self.pose, self.view
        self._worker.wish(
            (self.number, "still"), lambda: self._draw(pose, view, None), lambda still: self._still(still, pose, view),
            wait_s=wait_s,
        )  # fmt: skip
        if self._wants_splats and self._sent != self._stage.version:
            self._worker.wish(
                (self.number, "splats"), self._make_splats, self._send_splats, wait_s=SPLATS_WAIT_S
            )

    def gone(self) -> None:
        """The browser is closed."""
        for name in ("still", "moving", "splats", "strip", "arrival"):
            self._worker.forget((self.number, name))

    def redraw(self) -> Still:
        """The sharp picture as it should be now."""
        return self._draw(self.pose, self.view, None)

    def camera(self) -> Camera:
        """The camera of the sharp picture."""
        return self.pose.camera(self.view.longest)

    def _draw(self, pose: Pose, view: View, longest: int | None) -> Still:
        camera = pose.camera(longest or view.longest)
        if view.shows == "original":
            image = self._picture(camera, view, original=True)
        else:
            image = self._picture(camera, view, original=False)
        if view.shows == "split":
            image = wipe(self._picture(camera, view, original=True), image, view.divide)
        return (image.clamp(0, 1) * 255).round().to(torch.uint8).numpy()

    def _picture(self, camera: Camera, view: View, *, original: bool) -> Float[Tensor, "h w 3"]:
        """A layer of the scene before or after edits; without selections it is kept for the next time."""
        painter, seen = self._stage.painter, self._stage.seen(original=original, marked=view.overlay)
        layer = view.layer if view.layer in painter.layers else painter.layers[0]
        version = self._stage.version if layer == SIMILARITY else 0
        key = (
            camera.world_from_camera.numpy().tobytes(),
            float(camera.focal_px[1]),
            camera.size,
            layer,
            version,
        )
        key = (*key, original)
        kept = self._plain.pop(key, None)
        if kept is None or kept[0] is not seen.field:
            kept = (seen.field, painter.plain(seen, camera, layer))
        self._plain[key] = kept
        while len(self._plain) > PLAIN_KEPT:
            self._plain.popitem(last=False)
        return painter.marked(kept[1], seen, camera)

    def _still(self, picture: Still, pose: Pose, view: View) -> None:
        self._put(picture)
        self._sky = np.median(picture[0], axis=0).astype(np.uint8)
        if self._splats is not None:
            self._splats.visible = False
        self._moving = False
        self.last = Shot(pose, view, self._stage.version)

    def _put(self, picture: Still) -> None:
        self.client.scene.set_background_image(picture, format="jpeg", jpeg_quality=QUALITY)

    # While it moves

    def _show_moving(self, pose: Pose) -> None:
        if self._splats is not None:
            self._show_splats()
            return
        self._worker.wish(
            (self.number, "moving"), lambda: self._draw(pose, self.view, MOVING_PX), self._put, fleeting=True
        )

    def _show_splats(self) -> None:
        if not self._moving:
            self._moving = True
            self._splats.visible = True
            self._put(np.tile(self._sky, (2, 2, 1)))

    def _make_splats(self) -> Any:
        version = self._stage.version
        seen = self._stage.seen(original=self.view.shows == "original", marked=self.view.overlay)
        return version, browser_splats(seen, self.camera())

    def _send_splats(self, made: Any) -> None:
        version, arrays = made
        scene: Any = self.client.scene
        add = (
            getattr(scene, "add_gaussian_splats", None) or scene._add_gaussian_splats
        )  # its name before viser 1.0
        self._splats = add(
            SPLATS, centers=arrays.centers, covariances=arrays.covariances, rgbs=arrays.rgbs,
            opacities=arrays.opacities, visible=self._moving,
        )  # fmt: skip
        self._sent = version


def pose_of(client: ClientHandle) -> Pose:
    """Where a browser looks from, as it told last."""
    camera = client.camera
    w, x, y, z = (float(value) for value in camera.wxyz)
    px, py, pz = (float(value) for value in camera.position)
    return Pose((w, x, y, z), (px, py, pz), float(camera.fov), float(camera.aspect))
