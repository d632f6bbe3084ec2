# SPDX-License-Identifier: Apache-2.0
"""Who is refused for now is told when to come again."""

from __future__ import annotations

from pathlib import Path

from hypercell.api.docker.errors import explain
from hypercell.base.errors import Unavailable
from tests.support.daemon import running

from .conftest import connect
from .door import root_tar


def test_a_refusal_tells_after_how_many_seconds_to_try_again() -> None:
    assert explain(None, Unavailable("too many", "later", retry_after=7)).headers == (("Retry-After", "7"),)
    assert explain(None, Unavailable("shutting down")).headers == ()


async def test_a_start_that_cannot_fit_is_refused_over_the_api(tmp_path: Path) -> None:
    with running(tmp_path / "d", driver="fake", reserve_memory=1 << 60) as daemon:
        client = await connect(daemon.socket)
        await client.ask("POST", "/images/create?fromSrc=-&repo=fake&tag=test", root_tar(), {"X-Kind": "tar"})
        await client.ask("POST", "/containers/create?name=big", {"Image": "fake:test", "Cmd": ["true"]})
        await client.send(b"POST /containers/big/start HTTP/1.1\r\nHost: docker\r\n\r\n")
        status, headers, body = await client.answer()
        await client.close()
    assert status == 503 and int(headers["retry-after"]) > 0 and b"does not fit" in body
