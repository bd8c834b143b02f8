"""The HTML export: one self-contained file without scripts and without network."""
