# SPDX-License-Identifier: Apache-2.0
"""How many execs a container keeps that do not run. A client that creates some and never starts them fills no memory.

The oldest go first, so clients of docker, which start an exec as soon as they have created it, notice nothing.
"""

from __future__ import annotations

from hypercell.base.sizes import MIB
from hypercell.node.exec import Exec

ENDED = 100
"""Execs that have ended; their exit codes can still be asked for."""
WAITING = 100
"""Execs that were created and not started."""
WAITING_BYTES = 4 * MIB
"""Of their commands and environments together; the newest may always wait."""
WAITING_SECONDS = 300.0


def evict(execs: dict[str, Exec], now: float) -> None:
    """Forget those beyond the bounds. *execs*: by id, oldest first. *now*: of the monotonic clock."""
    ended = [known for known in execs.values() if known.exited.is_set()]
    waiting = [known for known in execs.values() if not known.began]
    gone = ended[: max(0, len(ended) - ENDED)]
    held = 0
    for count, known in enumerate(reversed(waiting)):
        held += known.spec.size
        if count and (count >= WAITING or held > WAITING_BYTES or now - known.created > WAITING_SECONDS):
            gone += waiting[: len(waiting) - count]
            break
    for known in gone:
        del execs[known.id]
