"""Simulated nodes: kubelets with their container runtimes, images that behave as told, and the machines that faults act on."""

from sim_nodes.images import DEFAULT_BEHAVIOUR, ImageBehaviour, Images
from sim_nodes.kubelet import Kubelet, KubeletStatistics
from sim_nodes.node import NodeHandle, busiest, make_runtime, start_node
from sim_nodes.node_status import DEFAULT_CAPACITY, SimulatedNode
from sim_nodes.runtime import ContainerRecord, Containers, Runtime, RuntimeStatistics

__all__ = [
    "DEFAULT_BEHAVIOUR",
    "DEFAULT_CAPACITY",
    "ContainerRecord",
    "Containers",
    "ImageBehaviour",
    "Images",
    "Kubelet",
    "KubeletStatistics",
    "NodeHandle",
    "Runtime",
    "RuntimeStatistics",
    "SimulatedNode",
    "busiest",
    "make_runtime",
    "start_node",
]
