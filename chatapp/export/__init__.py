"""Conversations as files: JSON (and back), HTML, Markdown. Projections of the record; no Qt, no torch.

service.py      FileExporter, what the window and the command line use
contracts.py    what a format is            registry.py     the built-in ones
json_format.py, html/, markdown_format.py   the formats
reading.py      JSON → conversation         files.py        whole file or none
"""
