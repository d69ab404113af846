"""Changes of what a selection shows, and the way to ordinary splat files."""
