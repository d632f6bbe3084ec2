# SPDX-License-Identifier: Apache-2.0
"""`POST /containers/{id}/wait`: the head of the answer comes as soon as the container is watched, so that a client
which then starts it cannot miss its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from hypercell.api.docker.engine import Call
from hypercell.api.http import Reply, StreamResponse, encode, json_response
from hypercell.base.errors import HypercellError, InvalidArgument

_CONDITIONS = ("not-running", "next-exit", "removed")


async def wait_container(call: Call) -> Reply:
    engine = call.app
    condition = call.query.get("condition") if call.version >= (1, 30) else ""
    if condition and condition not in _CONDITIONS:
        raise InvalidArgument(f'invalid condition: "{condition[:100]}"')
    watched = asyncio.Event()
    waiting = asyncio.create_task(
        engine.containers.wait(engine.tenant, call.params["name"], condition or "not-running", watched.set)
    )
    waiting.add_done_callback(lambda _: watched.set())
    try:
        await watched.wait()
        if waiting.done() or call.version < (1, 30):
            return json_response(_result(*await waiting))
    except BaseException:
        waiting.cancel()
        raise
    return StreamResponse(_later(waiting), content_type="application/json")


async def _later(waiting: asyncio.Task[tuple[int, str]]) -> AsyncIterator[bytes]:
    try:
        code, error = await waiting
    except HypercellError as problem:
        code, error = 0, str(problem)
    finally:
        waiting.cancel()
    yield encode(_result(code, error))


def _result(code: int, error: str) -> dict[str, Any]:
    return {"StatusCode": code, **({"Error": {"Message": error}} if error else {})}
