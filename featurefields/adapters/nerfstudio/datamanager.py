"""nerfstudio's data manager over our pictures: undistorted, reduced and read by our own readers.

Letters: h w pixels.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
from nerfstudio.data.datamanagers.full_images_datamanager import (
    FullImageDatamanager,
    FullImageDatamanagerConfig,
)
from nerfstudio.data.dataparsers.base_dataparser import DataparserOutputs
from nerfstudio.data.datasets.base_dataset import InputDataset
from nerfstudio.utils.rich_utils import CONSOLE

from featurefields.adapters.nerfstudio.cameras import pinholes
from featurefields.adapters.nerfstudio.parser import make_patient
from featurefields.adapters.nerfstudio.photos import ParsedPhotos, Split, parsed_photos
from featurefields.fitting.photos import longest_px
from featurefields.scene import View


class PhotoDataset(InputDataset):
    """The photos of views, as their pinhole cameras see them; pixels are read when they are asked for."""

    def __init__(self, outputs: DataparserOutputs, views: tuple[View, ...]) -> None:
        super().__init__(outputs)
        self.views = views

    def get_data(self, image_idx: int, image_type: Literal["uint8", "float32"] = "float32") -> dict:
        """`image_idx`, `image` (h w 3) and, for a view with a mask, `mask` (h w 1)."""
        picture = self.views[image_idx].picture
        image, mask = picture.image(), picture.mask()
        if image_type == "uint8":
            image = (image * 255).round().to(torch.uint8)
        data = {"image_idx": image_idx, "image": image}
        return data if mask is None else data | {"mask": mask[..., None]}


@dataclass
class PhotoDatamanagerConfig(FullImageDatamanagerConfig):
    """Photos for the disentangled features."""

    _target: type = field(default_factory=lambda: PhotoDatamanager)
    longest_px: int | None = None
    """Photos are reduced to at most this many pixels along the longer side; 0 keeps them whole; by default 1000 on the
    CPU and 1600 on a GPU."""


class PhotoDatamanager(FullImageDatamanager[PhotoDataset]):
    """Serves `PhotoDataset`s and the `Scene` they are views of (`photos`)."""

    config: PhotoDatamanagerConfig
    photos: ParsedPhotos

    def __init__(
        self,
        config: PhotoDatamanagerConfig,
        device: "torch.device | str" = "cpu",
        test_mode: Literal["test", "val", "inference"] = "val",
        world_size: int = 1,
        local_rank: int = 0,
        **kwargs: object,
    ) -> None:
        make_patient(config.dataparser)
        super().__init__(config, device, test_mode, world_size, local_rank, **kwargs)

    def create_train_dataset(self) -> PhotoDataset:
        """Reads both splits; photos that do not exist are left out and counted."""
        held_out = self.dataparser.get_dataparser_outputs(split=self.test_split)
        self.photos = parsed_photos(
            self.train_dataparser_outputs,
            held_out,
            Path(self.config.dataparser.data),
            longest_px=self._longest_px(),
            files_needed=self.test_mode != "inference",
        )
        missing = self.photos.scene.missing
        if missing:
            some = ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "")
            CONSOLE.print(f"[bold yellow]{len(missing)} listed photos do not exist and are skipped: {some}")
        self._held_out = held_out
        return self._dataset(self.train_dataparser_outputs, "train")

    def create_eval_dataset(self) -> PhotoDataset:
        return self._dataset(self._held_out, "test")

    def _dataset(self, outputs: DataparserOutputs, split: Split) -> PhotoDataset:
        views, cameras = self.photos.scene.split(split), self.photos.nerfstudio_cameras(split)
        shown = replace(
            outputs,
            image_filenames=[outputs.image_filenames[index] for index in self.photos.kept[split]],
            cameras=pinholes(cameras) if cameras else outputs.cameras[:0],
            mask_filenames=None,
            alpha_color=None,
            metadata={},
        )
        return PhotoDataset(shown, views)

    def _longest_px(self) -> int | None:
        asked = self.config.longest_px
        if asked is None:
            return longest_px(self.device)
        return asked or None

    def _load_images(self, split: str, cache_images_device: str) -> list[dict[str, torch.Tensor]]:
        del cache_images_device
        dataset = self.train_dataset if split == "train" else self.eval_dataset
        self.train_cameras = self.train_dataset.cameras
        return [dataset.get_data(index) for index in range(len(dataset))]

    def get_train_rays_per_batch(self) -> int:
        """Pixels of a photo."""
        width, height = self.photos.scene.split("train")[0].camera.size
        return width * height
