"""Splat and distil: a student learns, from single pictures, features that other views agree on."""
