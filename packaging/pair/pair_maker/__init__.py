"""Makes the built-in pair: corpus, tokenizer, target, draft, evaluation, export.

A program of its own: it must not import the application, and the application must not import it.
"""
