"""From 2D feature maps to features on Gaussians, without training."""
