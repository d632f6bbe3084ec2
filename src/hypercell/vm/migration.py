# SPDX-License-Identifier: Apache-2.0
"""Saving a VM to a file and making a VM of it, as QEMU does: a migration (docs/devel/migration.rst in QEMU).

With `x-ignore-shared` the memory stays where it is, and what is written are the states of the devices.
"""

from __future__ import annotations

import asyncio

from hypercell.base.errors import Internal, Unavailable
from hypercell.vm.qmp import Answer, Qmp

_PATIENCE = 20.0
"""Seconds that saving may take; it takes some hundredths."""
_PAUSE = 0.005
_CAPABILITIES = {
    "capabilities": [{"capability": "x-ignore-shared", "state": True}, {"capability": "events", "state": True}]
}
COMPLETED = {"status": "completed"}
"""Data of the event MIGRATION, at the end of a migration that worked."""


def restore(qmp: Qmp, state: int) -> list[Answer]:
    """Tell a hypervisor that was started with `-incoming defer` to read its descriptor *state*, and to run then.

    All commands are sent at once, before it greets.
    """
    return [
        qmp.begin("qmp_capabilities"),
        qmp.begin("migrate-set-capabilities", _CAPABILITIES),
        # A machine that has moved tells its network so. This one has not, and shall not be heard of before it has an
        # address of its own.
        qmp.begin("migrate-set-parameters", {"announce-rounds": 0}),
        qmp.begin("migrate-incoming", {"uri": f"fd:{state}"}),
        qmp.expect("RESUME"),
    ]


async def save(qmp: Qmp, state: int) -> None:
    """Write the devices' states to the file of our descriptor *state*. Raises `Internal` when that fails, `Unavailable`
    when it does not end."""
    begun = [
        qmp.begin("migrate-set-capabilities", _CAPABILITIES),
        qmp.begin("getfd", {"fdname": "state"}, state),
        qmp.begin("migrate", {"uri": "fd:state"}),
    ]
    await qmp.answers(begun)
    try:
        async with asyncio.timeout(_PATIENCE):
            while (status := await _status(qmp)) != "completed":
                if status in ("failed", "cancelled"):
                    raise Internal(f"its migration to a file is {status}")
                await asyncio.sleep(_PAUSE)
    except TimeoutError:
        raise Unavailable(f"its migration to a file did not end within {_PATIENCE:g} s") from None


async def _status(qmp: Qmp) -> object:
    answer = await qmp.execute("query-migrate")
    return answer.get("status") if isinstance(answer, dict) else None
