"""Random scenes with exact depth, quick to photograph, on which the feed-forward lifter practises."""
