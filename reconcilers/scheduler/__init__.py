"""The scheduler: gives every pending pod a node.

`Scheduler` is the reconciler; `SchedulerCore` is all of it but the waiting: queue, cache, plugins, preemption.
"""

from reconcilers.scheduler.core import Bind, Decision, Fail, SchedulerCore, Skip
from reconcilers.scheduler.scheduler import Scheduler

__all__ = ["Bind", "Decision", "Fail", "Scheduler", "SchedulerCore", "Skip"]
