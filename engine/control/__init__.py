"""The control floor: client, informers, work queue, controller runtime, leader election, event recorder."""

from engine.control.cache import (
    Cache,
    Change,
    ChangeType,
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
from engine.control.interposed import EVERY_REQUEST, Answer, CarryOn, Interposer, Matching
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
from engine.control.rules import Hanging, Odds, Refusing, Slow
from engine.control.runtime import ControllerRuntime, RuntimeStatistics
from engine.control.seam import Connection, Fate, NthWrite, Seam, Stage
from engine.control.servers import AnyServer, ApiServers, Route, ServerHandle
from engine.control.stages import Coalesced, Delayed, Stalled
from engine.control.views import Forgetting, StaleView
from engine.control.workqueue import RateLimits, WorkQueue, merge_causes

__all__ = [
    "EVERY_REQUEST",
    "Answer",
    "AnyServer",
    "ApiServers",
    "Cache",
    "CarryOn",
    "Change",
    "ChangeType",
    "Client",
    "Coalesced",
    "Connection",
    "ControllerQueue",
    "ControllerRuntime",
    "Delayed",
    "Done",
    "Equipment",
    "EventCorrelator",
    "EventRecorder",
    "Fate",
    "For",
    "Forgetting",
    "Hanging",
    "Informer",
    "Interposer",
    "LeaderElector",
    "LinkedEndpoint",
    "Matching",
    "NthWrite",
    "Odds",
    "Owns",
    "Queue",
    "RateLimits",
    "Reconciler",
    "Refusing",
    "Requeue",
    "RequeueAfter",
    "Result",
    "Route",
    "RuntimeStatistics",
    "Seam",
    "ServerHandle",
    "Slow",
    "Source",
    "Stage",
    "StaleView",
    "Stalled",
    "Watches",
    "WorkQueue",
    "claim",
    "index_by_controller",
    "index_by_namespace",
    "key_of",
    "merge_causes",
]
