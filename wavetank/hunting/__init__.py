"""Hunting: one experiment under many seeds, plans of faults and schedules; what fails is written down, replayed and shrunk."""
