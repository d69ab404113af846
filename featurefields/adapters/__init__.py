"""Other programs' frames around this one's parts."""
