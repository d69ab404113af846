"""Kinds of vision models that the hub has, and the licences of their weights: kept by hand, for the documentation."""

FAMILIES = (
    (
        "DINOv2, with registers or without",
        "Apache-2.0",
        "",
        "https://github.com/facebookresearch/dinov2/blob/main/MODEL_CARD.md",
    ),
    (
        "DINOv3",
        "DINOv3 License of its authors",
        "gated: agree to it on the model's page and log in to the hub",
        "https://huggingface.co/facebook/dinov3-vits16-pretrain-lvd1689m",
    ),
    ("ViT (google)", "Apache-2.0", "", "https://huggingface.co/google/vit-base-patch16-224"),
    ("DeiT (facebook)", "Apache-2.0", "", "https://huggingface.co/facebook/deit-base-patch16-224"),
    (
        "CLIP (OpenAI)",
        "MIT",
        "so its repository; the hub's pages name none. Its model card advises against deployed use without testing",
        "https://github.com/openai/CLIP/blob/main/LICENSE",
    ),
    ("SigLIP", "Apache-2.0", "", "https://huggingface.co/google/siglip-base-patch16-224"),
    ("SigLIP 2", "Apache-2.0", "", "https://huggingface.co/google/siglip2-so400m-patch16-256"),
    (
        "ConvNeXt (facebook)",
        "Apache-2.0",
        "so the hub's pages; its repository says MIT",
        "https://huggingface.co/facebook/convnext-tiny-224",
    ),
    (
        "ConvNeXt V2 (facebook)",
        "CC-BY-NC",
        "the weights are not for commercial use; its code is MIT",
        "https://github.com/facebookresearch/ConvNeXt-V2/blob/main/README.md",
    ),
    ("ResNet (microsoft)", "Apache-2.0", "", "https://huggingface.co/microsoft/resnet-50"),
    (
        "Depth Anything V2",
        "Small: Apache-2.0; Base, Large, Giant: CC-BY-NC-4.0",
        "the larger ones not for commercial use",
        "https://github.com/DepthAnything/Depth-Anything-V2/blob/main/README.md",
    ),
    ("DPT (Intel)", "Apache-2.0", "", "https://huggingface.co/Intel/dpt-large"),
)
"""Kinds of models that `transformers:HUB_ID` takes: name, licence of the published weights, what to know, where it was
read."""
