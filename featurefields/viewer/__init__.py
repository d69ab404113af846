"""The web viewer: see a field, select in it, edit it, export it. The only package that knows viser."""
