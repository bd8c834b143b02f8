"""Measurements: speed of the engine, of its peers, and of the window. Part of the application layer: knows every layer."""
