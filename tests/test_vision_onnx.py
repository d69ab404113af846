"""ONNX files: tiny ones written here byte by byte, and a real network where there is one."""

import re

import pytest
import torch

from featurefields.errors import FileFormatError, UnavailableError
from featurefields.vision.onnx_file import OnnxExtractor

# The fields of onnx.proto that a model of one node needs, in protobuf's wire format.
Dim = int | str


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def block(field: int, content: bytes | str) -> bytes:
    content = content.encode() if isinstance(content, str) else content
    return varint(field << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def tensor_named(name: str, shape: list[Dim]) -> bytes:
    """A ValueInfoProto of float32; named dimensions are dynamic."""
    dims = b"".join(block(1, number(1, dim) if isinstance(dim, int) else block(2, dim)) for dim in shape)
    return block(1, name) + block(2, block(1, number(1, 1) + block(2, dims)))


def model(operator: str, attributes: bytes, shape_in: list[Dim], shape_out: list[Dim]) -> bytes:
    """A ModelProto (IR 8, opset 13) whose graph is one node from "rgb" to "features"."""
    node = block(1, "rgb") + block(2, "features") + block(4, operator) + attributes
    graph = block(1, node) + block(2, "g")
    graph += block(11, tensor_named("rgb", shape_in)) + block(12, tensor_named("features", shape_out))
    return number(1, 8) + block(7, graph) + block(8, number(2, 13))


def integers(name: str, values: list[int]) -> bytes:
    """An AttributeProto of kind INTS."""
    return block(5, block(1, name) + b"".join(number(8, value) for value in values) + number(20, 7))


def pooling(*, sides=(8, 8), shape_in: list[Dim] | None = None, shape_out: list[Dim] | None = None) -> bytes:
    """Average pooling: the feature of a patch is its mean colour."""
    attributes = integers("kernel_shape", list(sides)) + integers("strides", list(sides))
    return model("AveragePool", attributes, shape_in or ["b", 3, "h", "w"], shape_out or ["b", 3, "hp", "wp"])


@pytest.fixture
def pooled(tmp_path):
    """The extractor of a file with the given bytes."""

    def make(content: bytes) -> OnnxExtractor:
        path = tmp_path / "model.onnx"
        path.write_bytes(content)
        return OnnxExtractor(path)

    return make


def test_mean_colours(pooled, generator):
    extractor = pooled(pooling())
    assert (extractor.stride, extractor.dim) == (8, 3)
    images = torch.rand(2, 3, 24, 40, generator=generator)
    torch.testing.assert_close(extractor(images), torch.nn.functional.avg_pool2d(images, 8))


def test_sizes_between_patches_are_resized(pooled):
    extractor = pooled(pooling())
    assert extractor(torch.rand(1, 3, 21, 44)).shape == (1, 3, 3, 6)
    assert extractor(torch.rand(1, 3, 2, 3)).shape == (1, 3, 1, 1)


def test_fixed_size_is_honoured(pooled, generator):
    extractor = pooled(pooling(shape_in=[1, 3, 32, 48], shape_out=[1, 3, 4, 6]))
    images = torch.rand(2, 3, 64, 96, generator=generator)
    features = extractor(images)
    assert features.shape == (2, 3, 4, 6)
    expected = torch.nn.functional.avg_pool2d(images, 16)
    assert (features - expected).abs().max() < 0.05  # antialiased resizing blurs a little over patch borders


def test_fixed_batch_is_honoured(pooled, generator):
    extractor = pooled(pooling(shape_in=[4, 3, "h", "w"], shape_out=[4, 3, "hp", "wp"]))
    images = torch.rand(3, 3, 16, 16, generator=generator)
    torch.testing.assert_close(extractor(images), torch.nn.functional.avg_pool2d(images, 8))


def test_fingerprint_is_of_the_content(tmp_path):
    contents = {"a": pooling(), "b": pooling(), "c": pooling(sides=(4, 4))}
    prints = {}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        prints[name] = OnnxExtractor(tmp_path / name).fingerprint
    assert prints["a"] == prints["b"] != prints["c"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "as an ONNX file"),
        (b"this is no model at all", "as an ONNX file"),
        (pooling()[:-20], "as an ONNX file"),
        (pooling(shape_in=["b", 1, "h", "w"], shape_out=["b", 1, "hp", "wp"]), "not float (b 3 h w)"),
        (pooling(sides=(8, 4)), "not (b d h/stride w/stride)"),
        (pooling(sides=(9, 9)), "not (b d h/stride w/stride)"),
        (model("Flatten", b"", ["b", 3, "h", "w"], ["b", "x"]), "not (b d h/stride w/stride)"),
        (model("Relu", b"", ["b", 3], ["b", 3]), "not float (b 3 h w)"),
    ],
    ids=["empty", "text", "truncated", "grey", "oblong", "overhang", "flat", "vectors"],
)
def test_unfit_files_are_refused_in_one_line(pooled, content, message):
    with pytest.raises(FileFormatError, match=re.escape(message)) as caught:
        pooled(content)
    assert "\n" not in str(caught.value)
    assert "model.onnx" in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(UnavailableError, match="there is no such file"):
        OnnxExtractor(tmp_path / "none.onnx")
    with pytest.raises(UnavailableError, match="there is no such file"):
        OnnxExtractor(tmp_path)


def test_real_network(shared_data):
    path = shared_data / "weights" / "mnv2_features.onnx"
    if not path.is_file():
        pytest.skip(f"no network at {path}")
    extractor = OnnxExtractor(path)
    assert (extractor.stride, extractor.dim) == (8, 288)
    image = torch.zeros(1, 3, 72, 100)
    image[..., 50:] = torch.tensor([0.9, 0.2, 0.1])[:, None, None]
    features = extractor(image)
    assert features.shape == (1, 288, 9, 13)
    left, right = features[0, :, 4, 1], features[0, :, 4, -2]
    assert torch.cosine_similarity(left, right, dim=0) < 0.9
    assert torch.cosine_similarity(left, features[0, :, 5, 1], dim=0) > 0.9
