"""The window: PySide6 widgets and controllers over the domain. Knows no engine, store, exporter or file format."""
