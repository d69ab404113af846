"""Surfaces of what the Gaussians show: depth from single views, meshes and points from many."""
