"""The scheduler's plugins: each decides on, or scores, one aspect of a node for a pod.

Two families, each with the same few names. *Node-local* plugins (`nodes`, `resources`) look at one node and the pod's
shape only; their answers are kept per shape and node. *Domain* plugins (`spread`, `affinity`) depend on where other
pods are; they get a `state` prepared once per pod.

    local:   name   filter(shape, node) -> Rejection | None             score(shape, node) -> int
    domain:  name   prepare(pod) -> state | None (nothing to check)     filter(pod, node, state) -> Rejection | None
             keep(positions, state) -> those of the positions that `filter` passes, in order
             weigh(pod) -> state | None (nothing to score)              scores(positions, state, weight) -> list of 0..100
                                                              times the weight
"""
