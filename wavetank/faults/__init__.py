"""Faults: the catalogue of what can go wrong, requests, plans, and what strikes and heals them."""
