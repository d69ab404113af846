"""Numbers against photos and ground truth."""
