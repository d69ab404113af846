"""From prompts to sets of Gaussians."""
