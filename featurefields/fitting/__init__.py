"""Fitting a field to photos: stage 1, geometry and appearance."""
