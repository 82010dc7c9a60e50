"""Perturbs one reconciler by cause, and compares each run with the undisturbed one."""
