"""Any network in an ONNX file that turns images into a grid of features.

Letters: b batch · h w pixels · hp wp patches · d feature dimension.

Contract of the file: its first input is (b 3 h w), float32, sRGB in 0..1 (normalisation inside the file); its
first output is (b d h/stride w/stride). A fixed image size in the file is honoured by resizing.
"""

import logging
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from featurefields.errors import FileFormatError, UnavailableError
from featurefields.vision.interface import fit_to_stride

log = logging.getLogger(__name__)

_PROBE = 224
"""Side of the probe image; a whole number of patches of 7, 8, 14, 16, 28 and 32 pixels."""


class OnnxExtractor:
    """Runs an ONNX file through onnxruntime; the stride is found by running it once."""

    def __init__(self, path: str | Path, *, device: torch.device | str = "cpu") -> None:
        """Load the file at `path`.

        Raises:
            UnavailableError: onnxruntime or the file is missing.
            FileFormatError: the file is not ONNX, or its input or output is not of the contract's shape.
        """
        self._path = Path(path).expanduser()
        self._session = _session(self._path, torch.device(device))
        self.fingerprint = f"onnx@{sha256(self._path.read_bytes()).hexdigest()[:16]}"
        given = self._session.get_inputs()[0]
        shape = list(given.shape)
        if len(shape) != 4 or (isinstance(shape[1], int) and shape[1] != 3) or given.type != "tensor(float)":
            raise self._unfit(f"input '{given.name}' is {given.type} of shape {shape}, not float (b 3 h w)")
        self._input, self._output = given.name, self._session.get_outputs()[0].name
        self._batch = shape[0] if isinstance(shape[0], int) else None
        fixed = isinstance(shape[2], int) and isinstance(shape[3], int)
        self._fixed_size = (shape[2], shape[3]) if fixed else None
        self.stride, self.dim = self._probe()

    @torch.no_grad()
    def __call__(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d hp wp"]:
        """Features of the images, on their device."""
        if self._fixed_size is None:
            fitted = fit_to_stride(images.float(), self.stride)
        else:
            fitted = interpolate(images.float(), self._fixed_size, mode="bilinear", antialias=True)
        features = torch.cat([self._run(part) for part in fitted.split(1)])
        expected = (self.dim, fitted.shape[2] // self.stride, fitted.shape[3] // self.stride)
        if tuple(features.shape[1:]) != expected:
            raise self._unfit(
                f"output '{self._output}' is {tuple(features.shape[1:])} where {expected} is due"
            )
        return features.to(images.device)

    def _probe(self) -> tuple[int, int]:
        """Stride and dimension, from the output of one grey image."""
        height, width = self._fixed_size or (_PROBE, _PROBE)
        features = self._run(torch.full((1, 3, height, width), 0.5))
        rows, columns = (features.shape[2], features.shape[3]) if features.ndim == 4 else (0, 0)
        if min(rows, columns) < 1 or height // rows != width // columns or height % rows or width % columns:
            raise self._unfit(
                f"output '{self._output}' of a {height} x {width} image has shape {tuple(features.shape)}, "
                "not (b d h/stride w/stride)"
            )
        return height // rows, features.shape[1]

    def _run(self, images: Float[Tensor, "1 3 h w"]) -> Tensor:
        if self._batch not in (None, 1):
            images = images.expand(self._batch, -1, -1, -1)
        try:
            (output,) = self._session.run([self._output], {self._input: images.cpu().contiguous().numpy()})
        except Exception as error:  # onnxruntime's errors have no common type but Exception
            raise self._unfit(f"running it on {tuple(images.shape)} failed: {_line(error)}") from error
        return torch.from_numpy(output)[:1].float()

    def _unfit(self, found: str) -> FileFormatError:
        return FileFormatError(f"cannot extract features with {self._path}: {found}; export it as documented")


def _session(path: Path, device: torch.device) -> Any:
    """An inference session for `path`; CUDA where it was asked for and onnxruntime has it."""
    if not path.is_file():
        raise UnavailableError(f"cannot load features 'onnx:{path}': there is no such file; check the path")
    try:
        import onnxruntime
    except ImportError as error:
        raise UnavailableError(
            f"features 'onnx:{path}' need onnxruntime: {error}; install it with: pip install onnxruntime"
        ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    providers = ["CPUExecutionProvider"]
    if device.type != "cpu":
        if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            providers = ["CUDAExecutionProvider", *providers]
        else:
            log.warning("the installed onnxruntime has no CUDA provider; extracting features on the CPU")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # onnxruntime's errors have no common type but Exception
        raise FileFormatError(
            f"cannot read {path} as an ONNX file: {_line(error)}; export it again"
        ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
