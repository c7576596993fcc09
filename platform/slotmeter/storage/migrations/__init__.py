"""Numbered migrations; one that has landed is never edited."""
