# SPDX-License-Identifier: Apache-2.0
"""docker's filters of `GET /containers/json`: what they may say, and which containers pass.

A wrong value is told whatever there is to list. A key without values filters nothing, but for those of which dockerd
asks that a container has any of them: `ancestor`, `network`, `volume`.
"""

from __future__ import annotations

from collections.abc import Iterable

from hypercell.api.docker.container_view import endpoints_json, is_alive, mounts_json, ports_json
from hypercell.api.docker.filters import Filters
from hypercell.base.digits import is_digits
from hypercell.base.errors import InvalidArgument, NotFound
from hypercell.cloud.contract import ContainerView, HealthStatus
from hypercell.images.contract import Image

_STATES = ("created", "running", "paused", "restarting", "removing", "exited", "dead")
_HEALTH = ("none", HealthStatus.STARTING, HealthStatus.HEALTHY, HealthStatus.UNHEALTHY)
_PORTS = 1 << 16
Ports = tuple[range, str]
"""Their numbers and their protocol."""


class ContainerFilters:
    """The *filters* of one request. Raises `InvalidArgument` in dockerd's words."""

    def __init__(self, filters: Filters) -> None:
        self._filters = filters
        for value in filters.get("status"):
            if value not in _STATES:
                raise _none_of("status", "state", value, _STATES)
        for value in filters.get("health"):
            if value not in _HEALTH:
                raise _none_of("health", "health", value, _HEALTH)
        self._exited = {_exit_code(value) for value in filters.get("exited")}
        self._no_task = not filters.flag("is-task", False)
        self._published = _ports(filters, "publish")
        self._exposed = _ports(filters, "expose")

    @property
    def of_states(self) -> bool:
        """Whether containers that do not run are meant too."""
        return bool(self._filters.get("status"))

    @property
    def among_all(self) -> bool:
        """Whether what a filter names need not be among those that are shown."""
        return any(key in self._filters for key in ("before", "since", "id"))

    def chosen(self, views: list[ContainerView], made_of: set[str]) -> list[ContainerView]:
        """Those of *views* (all, newest first, if `among_all`) that pass. *made_of*: what `ancestor` may mean, by the
        ids of images. Raises `NotFound` for a container that is not there."""
        found = self._between(views)
        if ids := self._filters.get("id"):
            wanted = {_only(views, value) for value in ids}
            found = [view for view in found if view.id in wanted]
        if "ancestor" in self._filters:
            found = [view for view in found if view.image_id in made_of]
        return [view for view in found if self._passes(view)] if self._filters else found

    def _between(self, views: list[ContainerView]) -> list[ContainerView]:
        """Those older than `before` and newer than `since`."""
        first, last = 0, len(views)
        for ref in self._filters.get("before"):
            first = max(first, _position(views, ref) + 1)
        for ref in self._filters.get("since"):
            last = min(last, _position(views, ref))
        return views[first:last]

    def _passes(self, view: ContainerView) -> bool:
        filters, health = self._filters, view.state.health
        return (
            self._no_task
            and filters.matches("name", view.name, f"/{view.name}")
            and filters.labels(view.request.labels)
            and filters.exact("status", str(view.state.status))
            and filters.exact("health", "none" if health is None else str(health.status))
            and self._has_ended(view)
            and self._has_volume(view)
            and self._is_on_network(view)
            and self._has_port(view)
        )

    def _has_ended(self, view: ContainerView) -> bool:
        if not self._exited:
            return True
        return not is_alive(view) and view.state.started_ns > 0 and view.state.exit_code in self._exited

    def _has_volume(self, view: ContainerView) -> bool:
        """By its name, by the host's path where it has none, or by where it is mounted."""
        if "volume" not in self._filters:
            return True
        places = {place for m in mounts_json(view) for place in (m.get("Name") or m["Source"], m["Destination"])}
        return any(value in places for value in self._filters.get("volume"))

    def _is_on_network(self, view: ContainerView) -> bool:
        """By the network's name, or the beginning of its id."""
        if "network" not in self._filters:
            return True
        networks = endpoints_json(view)
        ids = [str(endpoint["NetworkID"]) for endpoint in networks.values()]
        return any(
            value in networks or any(ident.startswith(value) for ident in ids) for value in self._filters.get("network")
        )

    def _has_port(self, view: ContainerView) -> bool:
        """docker's: any of the `publish` or `expose` filters is enough."""
        if not self._published and not self._exposed:
            return True
        return any(
            _among(self._published, port.get("PublicPort", 0), port["Type"])
            or _among(self._exposed, port["PrivatePort"], port["Type"])
            for port in ports_json(view)
        )


def descendants(images: Iterable[Image], roots: set[str]) -> set[str]:
    """The ids *roots*, and those of all that was made of them here."""
    children: dict[str, list[str]] = {}
    for image in images:
        children.setdefault(image.parent, []).append(image.id)
    found, waiting = set(roots), list(roots)
    while waiting:
        new = [ident for ident in children.get(waiting.pop(), ()) if ident not in found]
        found.update(new)
        waiting += new
    return found


def _none_of(key: str, what: str, value: str, known: Iterable[str]) -> InvalidArgument:
    shown = value[:100]
    words = f"invalid filter '{key}={shown}': invalid value for {what} ({shown}): must be one of {', '.join(known)}"
    return InvalidArgument(words)


def _exit_code(text: str) -> int:
    if not is_digits(text[1:] if text[:1] in ("+", "-") else text):
        raise InvalidArgument(f"invalid filter 'exited={text[:100]}': {_no_number(text)}")
    return int(text)


def _no_number(text: str) -> str:
    return f'parsing "{text[:100]}": invalid syntax'


def _only(views: list[ContainerView], prefix: str) -> str:
    """The id that begins so; empty if there is none, or more than one."""
    found = [view.id for view in views if view.id.startswith(prefix)] if prefix else []
    return found[0] if len(found) == 1 else ""


def _position(views: list[ContainerView], ref: str) -> int:
    """Of the container of that whole id or name."""
    for index, view in enumerate(views):
        if ref in (view.id, view.name, f"/{view.name}"):
            return index
    raise NotFound(f"No such container: {ref[:100]}")


def _ports(filters: Filters, key: str) -> list[Ports]:
    """`80`, `80/udp`, `8000-8010/tcp`."""
    ports = []
    for value in filters.get(key):
        shown = value[:100]
        if ":" in value:
            raise InvalidArgument(f"filter for '{key}' should not contain ':': {shown}")
        numbers, _, protocol = value.partition("/")
        try:
            ports.append((_range(numbers), protocol or "tcp"))
        except ValueError as error:
            raise InvalidArgument(f"error while looking up for {key} {shown}: {error}") from None
    return ports


def _among(ports: list[Ports], number: int, protocol: str) -> bool:
    return any(number in numbers and protocol == kind for numbers, kind in ports)


def _range(text: str) -> range:
    """Raises `ValueError`."""
    if not text:
        raise ValueError("empty string specified for ports")
    low, dash, high = text.partition("-")
    ends = (low, high) if dash else (low, low)
    for end in ends:
        if not is_digits(end):
            raise ValueError(_no_number(end))
        if int(end) >= _PORTS:
            raise ValueError(f'parsing "{end}": value out of range')
    first, last = map(int, ends)
    if last < first:
        raise ValueError(f"invalid range specified for port: {text[:100]}")
    return range(first, last + 1)
