"""Experiments: the file format, its loader, and what runs it."""
