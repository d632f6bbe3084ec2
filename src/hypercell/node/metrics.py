# SPDX-License-Identifier: Apache-2.0
"""What the node tells whoever watches the machine. No figure of a single container: they would be without bound."""

from __future__ import annotations

from collections import Counter as Tally

from hypercell.base.metrics import Counter, Gauge, Metric
from hypercell.node.admission import Admission
from hypercell.node.node import Node
from hypercell.node.types import Status
from hypercell.vm.factory import Factory, Way


def metrics(node: Node) -> list[Metric]:
    """All of them, as they are now: a pass over the containers, and nothing that waits."""
    figures = node.services.figures
    return [
        figures.starts,
        figures.steps,
        figures.failures,
        *_containers(node),
        *_factory(node.services.factory),
        *_admission(node.services.admission),
        *_machine(node.services.admission),
    ]


def _containers(node: Node) -> list[Metric]:
    tally = Tally(container.status for container in node.containers.values())
    states = Gauge("hypercell_containers", "Containers by state, in docker's words.", ("state",))
    for status in Status:
        states.set(tally[status], status.value)
    vms = sum(container.pod.vm is not None and not container.joined for container in node.containers.values())
    return [states, Gauge("hypercell_vms", "VMs that belong to a container.").set(vms)]


def _factory(factory: Factory) -> list[Metric]:
    told = factory.figures()
    pooled = Gauge("hypercell_pool_vms", "VMs that wait for a container, by shape (a template's key).", ("shape",))
    for shape, count in told.pooled.items():
        pooled.set(count, shape[:12])
    launched = Counter("hypercell_vms_launched_total", "VMs for containers, by the way they came about.", ("way",))
    for way in Way:
        launched.set(told.launched.get(way, 0), way.value)
    return [
        pooled,
        Gauge(
            "hypercell_pool_memory_bytes", "Memory of the VMs that wait, without what they share with their templates."
        ).set(told.pooled_bytes),
        Gauge("hypercell_templates", "Templates and zygotes that are kept.").set(told.templates),
        Gauge("hypercell_template_memory_bytes", "Memory of the templates and zygotes.").set(told.template_bytes),
        launched,
        Counter("hypercell_clones_rejected_total", "Clones that did not come up, or could not be trusted.").set(
            told.fallbacks
        ),
    ]


def _admission(gate: Admission) -> list[Metric]:
    under_way = Gauge("hypercell_launches_in_flight", "Launches that were let through and do not run yet.", ("kind",))
    under_way.set(gate.booting, "boot").set(gate.claiming, "claim")
    refused = Counter("hypercell_launches_refused_total", "Launches that the gate refused, by why.", ("reason",))
    for reason in ("size", "queue", "time"):
        refused.set(gate.refused[reason], reason)
    return [
        Gauge("hypercell_launches_waiting", "Launches that wait at the gate.").set(gate.queued),
        under_way,
        Counter("hypercell_launches_waited_total", "Launches that had to wait at the gate.").set(gate.waited),
        refused,
        Gauge("hypercell_teardowns_pending", "VMs that are being taken away, or will be.").set(gate.cleanups()),
    ]


def _machine(gate: Admission) -> list[Metric]:
    pressure = gate.pressure()
    expected = "Memory that launches under way have yet to touch."
    return [
        Gauge("hypercell_memory_available_bytes", "Memory that the machine can give.").set(pressure.available),
        Gauge("hypercell_memory_reserved_bytes", "Memory that is kept free (reserve_memory).").set(gate.reserve),
        Gauge("hypercell_memory_expected_bytes", expected).set(gate.expected),
        Gauge("hypercell_memory_stalled_ratio", "Share of the last second in which all waited for memory (PSI).").set(
            pressure.memory
        ),
        Gauge("hypercell_cpu_stalled_ratio", "Share of the last second in which something waited for a CPU (PSI).").set(
            pressure.cpu
        ),
    ]
