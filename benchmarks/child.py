"""One case in a process of its own: `python -m benchmarks.child NAME CASE [PROFILE]`, started by `isolated.py`.

Says on standard output, one JSON object a line, how far it is, and at last its figures.
"""

from __future__ import annotations

import cProfile
import json
import sys
import time

from benchmarks.catalogue import BENCHMARKS
from benchmarks.machine import peak_rss_mib
from benchmarks.model import Meter

QUIET_SECONDS = 0.2
"""Between two reports of progress."""


def main(name: str, case: str, profile: str = "") -> None:
    """Run the case, and save the profile where `profile` says."""
    last = 0.0

    def tell(share: float, what: str) -> None:
        nonlocal last
        now = time.perf_counter()
        if now - last >= QUIET_SECONDS:
            last = now
            _say({"share": share, "what": what})

    meter = Meter(tell, cProfile.Profile() if profile else None)
    figures = BENCHMARKS[name].measure(json.loads(case), meter)
    figures.setdefault("peak_rss_mib", peak_rss_mib())
    if meter.profile is not None:
        meter.profile.dump_stats(profile)
    _say({"figures": figures})


def _say(message: object) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
