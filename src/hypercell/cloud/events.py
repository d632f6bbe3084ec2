# SPDX-License-Identifier: Apache-2.0
"""What happened: each tenant's last thousand events, and whatever happens next, to each tenant its own."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from weakref import WeakSet

from hypercell.cloud.contract import Event

KEPT = 1000
"""Events of one tenant: nobody's noise evicts another's."""
TENANTS = 256
"""Whose events are kept; beyond that, those of the tenant that has been silent the longest are forgotten."""
_QUEUE = 10_000


class EventLog:
    """Implements `contract.Events`. A publisher never waits; a subscriber 10 000 events behind loses the oldest."""

    def __init__(self) -> None:
        self._past: OrderedDict[str, deque[Event]] = OrderedDict()
        """By tenant, the one that spoke last at the end."""
        self._subscribers: WeakSet[_Subscriber] = WeakSet()
        """Weak: a subscription that nobody reads ends with its iterator."""
        self._closed = False

    def publish(self, event: Event) -> None:
        self._past.setdefault(event.tenant, deque(maxlen=KEPT)).append(event)
        self._past.move_to_end(event.tenant)
        if len(self._past) > TENANTS:
            self._past.popitem(last=False)
        for subscriber in self._subscribers:
            subscriber.put(event)

    def subscribe(self, tenant: str, since_ns: int = 0, until_ns: int = 0) -> AsyncIterator[Event]:
        """Registered at once: nothing that happens after this call is missed."""
        subscriber = _Subscriber(tenant)
        if since_ns:
            for event in self._past.get(tenant, ()):
                if event.time_ns >= since_ns:
                    subscriber.put(event)
        if not self._closed and (not until_ns or until_ns > time.time_ns()):
            self._subscribers.add(subscriber)
        else:
            subscriber.close()
        return self._read(subscriber, until_ns)

    async def _read(self, subscriber: _Subscriber, until_ns: int) -> AsyncIterator[Event]:
        try:
            while (event := await subscriber.next(until_ns)) is not None:
                if until_ns and event.time_ns > until_ns:
                    return
                yield event
        finally:
            self._subscribers.discard(subscriber)

    def close(self) -> None:
        """End all subscriptions."""
        self._closed = True
        for subscriber in self._subscribers:
            subscriber.close()


class _Subscriber:
    def __init__(self, tenant: str) -> None:
        self._tenant = tenant
        self._queue: deque[Event] = deque(maxlen=_QUEUE)
        self._wakeup = asyncio.Event()
        self._closed = False

    def put(self, event: Event) -> None:
        if event.tenant == self._tenant:
            self._queue.append(event)
            self._wakeup.set()

    def close(self) -> None:
        self._closed = True
        self._wakeup.set()

    async def next(self, until_ns: int) -> Event | None:
        while not self._queue:
            if self._closed:
                return None
            self._wakeup.clear()
            left = max(0.0, (until_ns - time.time_ns()) / 1e9) if until_ns else None
            try:
                async with asyncio.timeout(left):
                    await self._wakeup.wait()
            except TimeoutError:
                return None
        return self._queue.popleft()
