"""Secondary windows: the pair chooser, the guide, about."""
