# SPDX-License-Identifier: Apache-2.0
"""What the guest may say (docs/agent-protocol.md): every JSON payload is checked here before anybody sees it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from hypercell.agent.contract import Json, Welcome
from hypercell.agent.frames import MAX_PAYLOAD, ProtocolError
from hypercell.agent.schema import (
    ABSENT,
    Check,
    Mismatch,
    array,
    boolean,
    counters,
    exact,
    integer,
    mapping,
    pattern,
    prose,
    record,
)
from hypercell.base.errors import (
    Conflict,
    ExecFailed,
    HypercellError,
    Internal,
    InvalidArgument,
    NoSpace,
    NotFound,
    Unsupported,
)

MAX_DEPTH: Final = 32

_NAME = pattern(r"[a-zA-Z0-9_.-]{1,64}")
_WORD = pattern(r"[a-zA-Z0-9_.+~-]{1,64}")
_BOOT_ID = pattern(r"|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""Empty while the guest had no entropy of its own to make one of."""
_U32 = integer(0, 2**32 - 1)
_PID = integer(1, 2**22)
_STREAM = integer(1, 2**32 - 1)
_ZERO = (integer(), 0)
_NOTHING = record({})

_WELCOME = record(
    {
        "version": integer(1, 2**16),
        "nonce": pattern(r"[0-9a-f]{32}"),
        "agent": _WORD,
        "features": array(_WORD, 64),
        "kernel": _WORD,
        "boot_id": _BOOT_ID,
        "fresh": boolean,
    }
)

_ERROR = record({"code": pattern(r"[a-z-]{1,32}"), "message": prose(512)})

_ENDING = {"code": (integer(0, 255), 0), "signal": (integer(0, 64), 0), "oom": (boolean, False), "exited_ns": _ZERO}

_EVENTS: dict[str, Check] = {
    "process.exited": record({"container": _NAME, "process": _NAME}, _ENDING),
    "container.oom": record({"container": _NAME}),
    "log": record({"message": prose(512)}, {"level": (pattern(r"[a-z]{1,16}"), "info")}),
}

_INPUT = record({"stream": _STREAM, "received": integer(), "closed": boolean})
_RING = record({"stream": _STREAM, "base": integer(), "end": integer(), "eof": boolean})


def _output(value: Any) -> Any:
    ring = _RING(value)
    if ring["base"] > ring["end"]:
        raise Mismatch(": base behind end")
    return ring


_PROCESS = record(
    {"process": _NAME, "status": pattern("created|running|exited")},
    {
        "pid": (integer(0, 2**22), 0),
        **_ENDING,
        "stdin": (_INPUT, ABSENT),
        "stdout": (_output, ABSENT),
        "stderr": (_output, ABSENT),
    },
)
_CONTAINER = record(
    {
        "container": _NAME,
        "status": pattern("created|running|paused|stopped"),
        "processes": array(_PROCESS, 4096),
    }
)

_MEMORY = "usage limit max_usage file anon inactive_file oom_kills"
_TRAFFIC = " ".join(f"{way}_{what}" for way in ("rx", "tx") for what in ("bytes", "packets", "errors", "dropped"))
_STATS = record(
    {},
    {
        "cpu": (counters("usage_ns user_ns system_ns periods throttled throttled_ns"), {}),
        "memory": (
            record(
                {},
                {
                    **dict.fromkeys(_MEMORY.split(), _ZERO),
                    "fields": (mapping(pattern(r"[a-z0-9_]{1,64}"), integer(), 256), {}),
                },
            ),
            {},
        ),
        "pids": (counters("current limit"), {}),
        "io": (array(counters("major minor rbytes wbytes rios wios"), 256), []),
        "interfaces": (
            array(record({"name": prose(15)}, dict.fromkeys(_TRAFFIC.split(), _ZERO)), 256),
            [],
        ),
        "cpus": (integer(1, 4096), 1),
        "system_cpu_ns": _ZERO,
        "memory_total": _ZERO,
    },
)
_ROW = record(
    {"pid": _PID},
    {
        "ppid": (integer(0, 2**22), 0),
        "uid": (_U32, 0),
        "gid": (_U32, 0),
        "pgid": (integer(0, 2**22), ABSENT),  # this and what else may be absent: older agents do not tell it
        "sid": (integer(0, 2**22), ABSENT),
        "tpgid": (integer(-1, 2**22), ABSENT),
        "ruid": (_U32, ABSENT),
        "rgid": (_U32, ABSENT),
        "flags": (_U32, ABSENT),
        "priority": (integer(-200, 200), ABSENT),
        "nice": (integer(-20, 19), ABSENT),
        "threads": (integer(0, 2**22), ABSENT),
        "processor": (integer(0, 4096), ABSENT),
        "vsz": (integer(), ABSENT),
        "rss": (integer(), ABSENT),
        "cpu_ticks": _ZERO,
        "start_ticks": _ZERO,
        "tty": (prose(32), "?"),
        "state": (prose(8), "?"),
        "comm": (prose(64), ""),
        "args": (array(prose(4096), 8192), []),
    },
)
_STAT = record(
    {"name": exact(4096), "size": integer(), "mode": _U32},
    {"mtime_ns": (integer(-(2**63)), 0), "link_target": (exact(4096), "")},
)

_REPLIES: dict[str, Check] = {
    "configure": record(
        {"boot_id": _BOOT_ID, "random": pattern("[0-9a-f]{32}"), "clock_ns": integer(), "hostname": exact(64)}
    ),
    "state": record({"configured": boolean, "containers": array(_CONTAINER, 1024)}),
    "container.create": record({"pid": _PID}),
    "container.start": record({"pid": _PID}),
    "container.stats": _STATS,
    "container.processes": record(
        {"processes": array(_ROW, 1024)},
        {"uptime_ns": _ZERO, "ticks_per_second": (integer(1, 10**6), 100), "memory_total": _ZERO},
    ),
    "process.exec": record({"pid": _PID}),
    "archive.get": record({"stat": _STAT}),
    "archive.stat": record({"stat": _STAT}),
}


def encode(members: Mapping[str, Any]) -> bytes:
    """A payload for the guest. Raises `InvalidArgument` for what JSON, UTF-8 or one frame cannot hold."""
    try:
        payload = _encoder.encode(members).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument(f"the guest cannot be told: {error}") from None
    if len(payload) > MAX_PAYLOAD:
        raise InvalidArgument(
            f"a request of {len(payload)} bytes is over the agent's limit of {MAX_PAYLOAD}",
            "shorten the environment, the arguments or the files",
        )
    return payload


def decode(payload: bytes) -> Json:
    """A JSON object from the guest. Raises `ProtocolError`."""
    try:
        value = _decoder.decode(payload.decode())
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"bad JSON: {error}") from None
    if type(value) is not dict:
        raise ProtocolError("JSON that is not an object")
    # No more brackets than levels: the common case, and far cheaper than a walk.
    if payload.count(b"{") + payload.count(b"[") > MAX_DEPTH and _deeper_than(value, MAX_DEPTH):
        raise ProtocolError(f"JSON deeper than {MAX_DEPTH} levels")
    return value


def welcome(payload: bytes) -> tuple[Welcome, str]:
    """WELCOME and its nonce. Raises `ProtocolError`."""
    found = _checked(_WELCOME, decode(payload), "WELCOME")
    return (
        Welcome(
            version=found["version"],
            agent=found["agent"],
            features=frozenset(found["features"]),
            kernel=found["kernel"],
            boot_id=found["boot_id"],
            fresh=found["fresh"],
        ),
        found["nonce"],
    )


def reply(op: str, payload: bytes) -> Json:
    """The reply to *op*: an operation without members of its own answers `{}`. Raises `ProtocolError`."""
    found: Json = _checked(_REPLIES.get(op, _NOTHING), decode(payload), f"the reply to {op}")
    return found


def event(payload: bytes) -> Json | None:
    """An EVENT, or None for a kind that this version does not know. Raises `ProtocolError`."""
    value = decode(payload)
    name = value.get("event")
    if type(name) is not str:
        raise ProtocolError("an event without a name")
    check = _EVENTS.get(name)
    if check is None:
        return None
    return {"event": name, **_checked(check, value, f"event {name}")}


def error(payload: bytes) -> HypercellError:
    """An ERROR as the house's own. Raises `ProtocolError`."""
    found = _checked(_ERROR, decode(payload), "ERROR")
    code, message = found["code"], found["message"]
    if code == "exec-not-found":
        return ExecFailed(message, 127, "check the program's name and the container's PATH")
    if code == "exec-denied":
        return ExecFailed(message, 126, "check that the program is an executable file")
    if code in _ERRORS:
        return _ERRORS[code](message)
    return Internal(f"the agent failed: {message}")


_ERRORS: dict[str, type[HypercellError]] = {
    "invalid": InvalidArgument,
    "not-found": NotFound,
    "exists": Conflict,
    "busy": Conflict,
    "unsupported": Unsupported,
    "no-space": NoSpace,
}


def _checked(check: Check, value: Any, what: str) -> Any:
    try:
        return check(value)
    except Mismatch as mismatch:
        raise ProtocolError(f"{what}: {str(mismatch).removeprefix(': ')}") from None


def _deeper_than(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [
            child
            for parent in level
            for child in (parent.values() if type(parent) is dict else parent)
            if type(child) in (dict, list)
        ]
        if not level:
            return False
    return True


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_encoder = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_decoder = json.JSONDecoder(parse_constant=_no_constant)
