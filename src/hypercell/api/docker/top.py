# SPDX-License-Identifier: Apache-2.0
"""`GET /containers/{id}/top`: the container's processes in the columns of `ps`.

dockerd runs the host's `ps`; here the rows come from the guest's agent, and process ids are as the container sees
them.
"""

from __future__ import annotations

import re
import time

from hypercell.api.docker import ps
from hypercell.api.docker.engine import Call
from hypercell.api.http import Response, json_response
from hypercell.base.errors import InvalidArgument

_MISLEADING = re.compile(r"(?<=\s)([^\s=]*)=\s*(PID\S*)")
"""A title that would be taken for that of the process ids."""


async def container_top(call: Call) -> Response:
    engine = call.app
    arguments = call.query.get("ps_args") or "-ef"
    columns = ps.parse(arguments)
    for name, title in _MISLEADING.findall(arguments):
        if name != "pid":
            raise InvalidArgument(f'specifying "{name}={title}" is not allowed')
    rows = await engine.containers.top(engine.tenant, call.params["name"])
    if not any(title == "PID" for title, _ in columns):
        raise InvalidArgument("Couldn't find PID field in ps output")
    now = time.time_ns()
    table = [[printable(tell(row, now)) for _, tell in columns] for row in rows]
    return json_response({"Titles": [printable(title) for title, _ in columns], "Processes": table})


def printable(text: str) -> str:
    """What a guest says, without what a terminal would act on; `ps` shows a question mark too."""
    return "".join(character if character.isprintable() else "?" for character in text)
