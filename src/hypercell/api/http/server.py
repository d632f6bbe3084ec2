# SPDX-License-Identifier: Apache-2.0
"""The HTTP server: accepts connections on listening sockets and serves an application's routes.

HTTP/1.1 by h11 over asyncio: frameworks refuse the protocol switch that docker's attach and exec are made of.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from operator import itemgetter
from typing import Generic, TypeVar

from hypercell.api.http.body import BodyBudget
from hypercell.api.http.channel import Channel
from hypercell.api.http.connection import Connection
from hypercell.api.http.limits import Limits
from hypercell.api.http.messages import Headers, Request, Response
from hypercell.api.http.routing import Route
from hypercell.base.errors import HypercellError

A = TypeVar("A")
log = logging.getLogger(__name__)
Finder = Callable[[Request[A]], tuple[Route[A], dict[str, str]]]
Explainer = Callable[[Request[A] | None, HypercellError], Response]


class Server(Generic[A]):
    """*find* gives a request's route (or raises), *explain* turns an error into an answer (the request is None when
    it could not be read), *headers* go with every answer."""

    def __init__(
        self, app: A, find: Finder[A], explain: Explainer[A], headers: Headers = (), limits: Limits | None = None
    ) -> None:
        self.app = app
        self.find = find
        self.explain = explain
        self.headers = headers
        self.limits = limits or Limits()
        self.bodies = BodyBudget(self.limits.body_bytes)
        self.closing = False
        self._servers: list[asyncio.Server] = []
        self._connections: dict[Connection[A], asyncio.Task[None]] = {}
        self._watch: asyncio.Task[None] | None = None

    async def listen(self, listener: socket.socket) -> None:
        """Serve a bound UNIX or TCP socket; it is closed with the server."""
        loop = asyncio.get_running_loop()
        if listener.family == socket.AF_UNIX:
            server = await loop.create_unix_server(lambda: Channel(self._accepted), sock=listener, backlog=1024)
        else:
            server = await loop.create_server(lambda: Channel(self._accepted), sock=listener, backlog=1024)
        self._servers.append(server)
        if self._watch is None:
            self._watch = asyncio.create_task(self._watch_deadlines())

    async def close(self, grace: float = 2.0) -> None:
        """Accept no more; end streams and idle connections, and give what else is being answered *grace* seconds."""
        self.closing = True
        for server in self._servers:
            server.close()
        tasks = set(self._connections.values())
        for connection, task in self._connections.items():
            if connection.interruptible:
                task.cancel()
        if tasks:
            _, pending = await asyncio.wait(tasks, timeout=grace)
            for task in pending:
                task.cancel()
            if pending:
                await asyncio.wait(pending, timeout=grace)
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch

    @property
    def connections(self) -> int:
        return len(self._connections)

    def _accepted(self, channel: Channel) -> None:
        if self.closing or (len(self._connections) >= self.limits.connections and not self._make_room()):
            channel.abort()
            return
        connection = Connection(self, channel)
        task = asyncio.create_task(connection.run())
        self._connections[connection] = task
        task.add_done_callback(lambda done: self._ended(connection, done))

    def _make_room(self) -> bool:
        """End the connection that has waited longest for its client; False when all are being answered."""
        # Whoever holds connections open without saying anything must not keep others out.
        waiting = [(each.waits_since, each) for each in self._connections if each.waits_since is not None]
        if not waiting:
            return False
        _, longest = min(waiting, key=itemgetter(0))
        longest.expire()
        return True

    def _ended(self, connection: Connection[A], task: asyncio.Task[None]) -> None:
        del self._connections[connection]
        if not task.cancelled() and task.exception() is not None:
            log.error("a connection failed", exc_info=task.exception())

    async def _watch_deadlines(self) -> None:
        # One sweep for all instead of a timer per read keeps deadlines off the hot path.
        shortest = min(self.limits.head_seconds, self.limits.idle_seconds, self.limits.body_seconds)
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(1.0, shortest / 4))
            now = loop.time()
            for connection in list(self._connections):
                if connection.deadline is not None and connection.deadline < now:
                    connection.expire()
