"""The engine thread and the bridge to the GUI's event loop. No Qt, no torch: the engine is imported on its own thread."""
