"""ImageNet's MobileNetV2 from 8-bit weights, as a folder that the transformers library loads.

The file holds convolutions in the order in which they run, with their batch normalisation folded in: NNw weights
(uint8), NNwq (scale, zero point), NNb biases (int32), NNbq (scale, …), NNkind 1 for depthwise ones. In the folder the
normalisations carry the biases: with mean 0 and variance 1 - eps they add them and nothing else. The classifier that
comes last is left out.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from featurefields.vision.convolutional_backbone import ConvolutionalBackbone
from featurefields.vision.transformers_backbone import save_backbone

BLOCKS = (5, 12, 15)
"""Inverted residual blocks (0 is the stem's) whose outputs are the features: 32 + 96 + 160 channels."""
OUTPUT_STRIDE = 16
STRIDE = 8
HALF = (0.5, 0.5, 0.5)
"""Mean and deviation with which it sees pictures: from -1 to 1."""


def write_mobilenet(weights: Path, folder: Path) -> Path:
    """Convert `weights` to a model folder at `folder`, with what `transformers:FOLDER` needs to know as features."""
    from transformers import MobileNetV2Config, MobileNetV2Model

    config = MobileNetV2Config(
        output_stride=OUTPUT_STRIDE,
        feature_layers=[block - 1 for block in BLOCKS],
        feature_stride=STRIDE,
        feature_first_px=[8 - 0.5, 16 - 0.5, 16 - 0.5],
    )
    model = MobileNetV2Model(config).eval()
    stored = np.load(weights, allow_pickle=False)
    with torch.no_grad():
        for number, (convolution, normalisation) in enumerate(_in_running_order(model)):
            kernel, bias = _dequantised(stored, number)
            convolution.weight.copy_(kernel)
            normalisation.weight.fill_(1.0)
            normalisation.bias.copy_(bias)
            normalisation.running_mean.zero_()
            normalisation.running_var.fill_(1.0 - normalisation.eps)
    folder.mkdir(parents=True, exist_ok=True)
    save_backbone(ConvolutionalBackbone(model, mean=HALF, std=HALF), folder)
    return folder


def _in_running_order(model: nn.Module) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Every convolution with the normalisation that follows it."""
    stem = model.conv_stem
    layers = [stem.first_conv, stem.conv_3x3, stem.reduce_1x1]
    for block in model.layer:
        layers += [block.expand_1x1, block.conv_3x3, block.reduce_1x1]
    layers.append(model.conv_1x1)
    return [(layer.convolution, layer.normalization) for layer in layers]


def _dequantised(stored: np.lib.npyio.NpzFile, number: int) -> tuple[Tensor, Tensor]:
    """Kernel (out, in, height, width) and bias of one convolution."""
    scale, zero = stored[f"{number:02d}wq"]
    kernel = (stored[f"{number:02d}w"].astype(np.float64) - zero) * scale
    kernel = (
        kernel.transpose(3, 0, 1, 2) if bool(stored[f"{number:02d}kind"]) else kernel.transpose(0, 3, 1, 2)
    )
    bias = stored[f"{number:02d}b"] * stored[f"{number:02d}bq"][0]
    return torch.from_numpy(kernel.astype(np.float32)), torch.from_numpy(bias.astype(np.float32))
