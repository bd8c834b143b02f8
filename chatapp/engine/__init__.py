"""Speculative decoding. torch is allowed here; Qt and asyncio are not. Nothing here knows a window, a file format or a thread."""
