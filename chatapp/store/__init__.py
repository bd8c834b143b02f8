"""Conversations on disk while they happen: SQLite, standard library only. No Qt, no torch, no export formats."""
