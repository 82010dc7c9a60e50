"""The control floor: client, informers, work queue, controller runtime, leader election, event recorder."""

from engine.control.cache import (
    Cache,
    Change,
    ChangeType,
    Key,
    index_by_controller,
    index_by_namespace,
    key_of,
)
from engine.control.client import Client
from engine.control.controller_queue import ControllerQueue
from engine.control.correlator import EventCorrelator
from engine.control.election import LeaderElector, claim
from engine.control.events import EventRecorder
from engine.control.informer import Informer
from engine.control.linked import LinkedEndpoint
from engine.control.reconciler import (
    Done,
    Equipment,
    For,
    Owns,
    Queue,
    Reconciler,
    Requeue,
    RequeueAfter,
    Result,
    Source,
    Watches,
)
from engine.control.runtime import ControllerRuntime, RuntimeStatistics
from engine.control.workqueue import RateLimits, WorkQueue, merge_causes

__all__ = [
    "Cache",
    "Change",
    "ChangeType",
    "Client",
    "ControllerQueue",
    "ControllerRuntime",
    "Done",
    "Equipment",
    "EventCorrelator",
    "EventRecorder",
    "For",
    "Informer",
    "Key",
    "LeaderElector",
    "LinkedEndpoint",
    "Owns",
    "Queue",
    "RateLimits",
    "Reconciler",
    "Requeue",
    "RequeueAfter",
    "Result",
    "RuntimeStatistics",
    "Source",
    "Watches",
    "WorkQueue",
    "claim",
    "index_by_controller",
    "index_by_namespace",
    "key_of",
    "merge_causes",
]
