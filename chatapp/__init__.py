"""chatapp: a chat window over a speculative-decoding engine in the same process."""

__version__ = "0.1.0"
