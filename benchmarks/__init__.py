"""How fast Wavetank is, and how its cost grows with the cluster. `python -m benchmarks --help` names the benchmarks.

Every benchmark is a module with the same few names: `BENCHMARK`, which says what it is and at which sizes it runs, and a `measure` that
runs one of them. A heavy one runs in a process of its own (`isolated.py`), so that its peak memory is its own.
"""
