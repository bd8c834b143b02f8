"""Small widgets with a look of their own; none of them knows what a run is."""
