# SPDX-License-Identifier: Apache-2.0
"""No verb reaches another tenant's containers, whatever it is told (C5 of docs/security.md). The verbs are those of the
contract: one that is added is held to the same, or fails here."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from hypercell.base.errors import Conflict, HypercellError, NotFound
from hypercell.cloud.contract import ContainerRequest, Containers, ExecRequest, LogQuery, Status
from tests.support.house import House, T

OTHER = "another"
NOT_BY_REFERENCE = {"create", "list", "prune"}
ARGUMENTS: dict[str, Any] = {
    "name": "stolen",
    "query": LogQuery(),
    "request": ExecRequest(("true",)),
    "path": "/etc/passwd",
    "stdin": True,
    "stdout": True,
    "stderr": True,
    "rows": 24,
    "columns": 80,
    "detach": True,
    "condition": "next-exit",
}


async def nothing() -> AsyncIterator[bytes]:
    yield b""


def verbs() -> list[str]:
    public = [name for name, member in vars(Containers).items() if inspect.isfunction(member) and name[0] != "_"]
    return sorted(set(public) - NOT_BY_REFERENCE)


async def ask(home: House, verb: str, tenant: str, ref: str) -> None:
    method: Callable[..., Any] = getattr(home.containers, verb)
    arguments = {
        name: nothing() if name == "body" else ARGUMENTS[name]
        for name, parameter in inspect.signature(method).parameters.items()
        if name not in ("tenant", "ref", "exec_id") and parameter.default is inspect.Parameter.empty
    }
    answer = method(tenant, ref, **arguments)
    if inspect.isasyncgen(answer) or isinstance(answer, AsyncIterator):
        async for _ in answer:
            pass
    else:
        await answer


def test_the_contract_has_the_verbs_that_are_tried() -> None:
    assert {"start", "exec_start", "exec_inspect", "archive_get", "logs", "attach"} <= set(verbs())
    assert len(verbs()) >= 20


@pytest.mark.parametrize("running", [False, True], ids=["created", "running"])
async def test_no_verb_reaches_another_tenants_container(home: House, running: bool) -> None:
    request = ContainerRequest("busybox", name="theirs", command=("sleep", "infinity"))
    ident, _ = await home.containers.create(OTHER, request)
    exec_id = ""
    if running:
        await home.containers.start(OTHER, ident)
        exec_id = await home.containers.exec_create(OTHER, ident, ExecRequest(("true",)))
    before = await home.containers.inspect(OTHER, ident)
    for verb in verbs():
        is_exec = "exec_id" in inspect.signature(getattr(home.containers, verb)).parameters
        if is_exec and not running:
            continue
        refs = (exec_id, exec_id[:12]) if is_exec else (ident, ident[:12], ident[:1], "theirs", "/theirs", "")
        for ref in refs:
            with pytest.raises(NotFound):
                await ask(home, verb, T, ref)
    assert await home.containers.inspect(OTHER, ident) == before
    assert before.state.status is (Status.RUNNING if running else Status.CREATED)
    assert await home.containers.list(T, all=True) == []
    assert await home.containers.prune(T, lambda view: False) == ([], 0)


async def test_an_id_of_ones_own_is_not_made_ambiguous_by_anothers(home: House) -> None:
    """Else the length of a prefix that still works would tell what ids others have."""
    mine = await home.create("true")
    for _ in range(40):
        await home.containers.create(OTHER, ContainerRequest("busybox", command=("true",)))
    assert (await home.containers.inspect(T, mine[:1])).id == mine


async def test_of_a_hundred_creates_by_two_tenants_each_has_one_winner(home: House) -> None:
    request = ContainerRequest("busybox", name="one", command=("true",))
    tenants = (T, OTHER) * 50
    results = await asyncio.gather(
        *(home.containers.create(tenant, request) for tenant in tenants), return_exceptions=True
    )
    for tenant in (T, OTHER):
        own = [result for owner, result in zip(tenants, results, strict=True) if owner == tenant]
        (winner,) = [result for result in own if isinstance(result, tuple)]
        assert all(isinstance(result, Conflict) for result in own if result is not winner)
        assert [view.id for view in await home.containers.list(tenant, all=True)] == [winner[0]]


async def test_a_conflict_names_no_other_tenants_container(home: House) -> None:
    theirs, _ = await home.containers.create(OTHER, ContainerRequest("busybox", name="one", command=("true",)))
    await home.create("true", name="one")
    with pytest.raises(HypercellError) as caught:
        await home.create("true", name="one")
    assert theirs not in str(caught.value)
