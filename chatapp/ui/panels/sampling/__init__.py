"""The controls of one request's settings: one control, one file where it has logic of its own."""
