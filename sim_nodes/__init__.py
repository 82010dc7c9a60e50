"""Simulated nodes: kubelets with their container runtimes, images that behave as told, and the machines that faults act on."""

from sim_nodes.disturbances import (
    Disturbances,
    PodDisturbances,
    Pressure,
    PressureKind,
    PullTrouble,
)
from sim_nodes.effects import Effect, Effects
from sim_nodes.images import DEFAULT_BEHAVIOUR, ImageBehaviour, Images
from sim_nodes.kubelet import Kubelet, KubeletStatistics
from sim_nodes.node import MachinePause, NodeHandle, busiest, make_runtime, start_node
from sim_nodes.node_status import DEFAULT_CAPACITY, SimulatedNode
from sim_nodes.records import ContainerRecord
from sim_nodes.runtime import Containers, Runtime, RuntimeStatistics

__all__ = [
    "DEFAULT_BEHAVIOUR",
    "DEFAULT_CAPACITY",
    "ContainerRecord",
    "Containers",
    "Disturbances",
    "Effect",
    "Effects",
    "ImageBehaviour",
    "Images",
    "Kubelet",
    "KubeletStatistics",
    "MachinePause",
    "NodeHandle",
    "PodDisturbances",
    "Pressure",
    "PressureKind",
    "PullTrouble",
    "Runtime",
    "RuntimeStatistics",
    "SimulatedNode",
    "busiest",
    "make_runtime",
    "start_node",
]
