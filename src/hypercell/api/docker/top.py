# SPDX-License-Identifier: Apache-2.0
"""`GET /containers/{id}/top`: the container's processes in the columns of `ps`.

dockerd runs the host's `ps`; here the rows come from the guest's agent, so the columns are those that the agent
knows, and process ids are as the container sees them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from hypercell.api.docker.engine import Call
from hypercell.api.http import Response, json_response
from hypercell.base.durations import SECOND
from hypercell.base.errors import InvalidArgument, Unsupported

Row = Mapping[str, Any]
Column = tuple[str, Callable[[Row, int], str]]


async def container_top(call: Call) -> Response:
    engine = call.app
    columns = _columns(call.query.get("ps_args") or "-ef")
    rows = await engine.containers.top(engine.tenant, call.params["name"])
    now = time.time_ns()
    table = [[printable(value(row, now)) for _, value in columns] for row in rows]
    return json_response({"Titles": [title for title, _ in columns], "Processes": table})


def printable(text: str) -> str:
    """What a guest says, without what a terminal would act on; `ps` shows a question mark too."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _user(row: Row, now: int) -> str:
    return "root" if row["uid"] == 0 else str(row["uid"])


def _usage(row: Row, now: int) -> str:
    elapsed = max((now - row["started_ns"]) / SECOND, 0.001)
    return str(min(int(row["cpu_seconds"] * 100 / elapsed), 99))


def _started(row: Row, now: int) -> str:
    started = time.localtime(row["started_ns"] // SECOND)
    today = time.localtime(now // SECOND)
    same_day = started[:3] == today[:3]
    return time.strftime("%H:%M" if same_day else "%b%d" if started[0] == today[0] else "%Y", started)


def clock(seconds: float) -> str:
    """`[days-]hours:minutes:seconds`."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    return f"{f'{days}-' if days else ''}{hour:02}:{minute:02}:{second:02}"


def _elapsed(row: Row, now: int) -> str:
    full = clock((now - row["started_ns"]) / SECOND)
    return full.removeprefix("00:")


def _command(row: Row, now: int) -> str:
    # A process without arguments is a kernel thread or a zombie: ps shows its name in brackets.
    return " ".join(row["args"]) if row["args"] else f"[{row['comm']}]"


_COLUMNS: dict[str, Column] = {
    "pid": ("PID", lambda row, now: str(row["pid"])),
    "ppid": ("PPID", lambda row, now: str(row["ppid"])),
    "uid": ("UID", lambda row, now: str(row["uid"])),
    "gid": ("GID", lambda row, now: str(row["gid"])),
    "user": ("USER", _user),
    "c": ("C", _usage),
    "stime": ("STIME", _started),
    "tty": ("TT", lambda row, now: str(row["tty"] or "?")),
    "time": ("TIME", lambda row, now: clock(row["cpu_seconds"])),
    "etime": ("ELAPSED", _elapsed),
    "state": ("S", lambda row, now: str(row["state"])[:1]),
    "comm": ("COMMAND", lambda row, now: str(row["comm"])),
    "args": ("COMMAND", _command),
    "cmd": ("CMD", _command),
}
_ALIASES = {
    "command": "args",
    "cputime": "time",
    "euid": "uid",
    "euser": "user",
    "ruid": "uid",
    "s": "state",
    "start_time": "stime",
    "tname": "tty",
    "tt": "tty",
    "ucmd": "comm",
    "uname": "user",
}
_FULL: list[Column] = [
    ("UID", _user),
    *(_COLUMNS[name] for name in ("pid", "ppid", "c", "stime")),
    ("TTY", _COLUMNS["tty"][1]),
    _COLUMNS["time"],
    _COLUMNS["cmd"],
]


def _columns(arguments: str) -> list[Column]:
    """`-ef`, or `-o` with names (and titles: `pid=ID`). Raises `Unsupported` for other options of ps."""
    words = arguments.split()
    chosen: list[Column] = []
    while words:
        word = words.pop(0)
        if word.startswith("-") and "o" in word and set(word[1 : word.index("o")]) <= set("eA"):
            names = word[word.index("o") + 1 :] or (words.pop(0) if words else "")
            chosen += _named(names)
        elif word in ("-e", "-A", "-f", "-ef", "-fe"):
            continue
        else:
            raise Unsupported(f"ps_args {word[:40]!r} is not built yet", "use -ef, or -o with names of columns")
    if chosen and not any(value is _COLUMNS["pid"][1] for _, value in chosen):
        raise InvalidArgument("Couldn't find PID field in ps output")
    return chosen or _FULL


def _named(names: str) -> list[Column]:
    columns = []
    for part in names.split(","):
        name, _, title = part.partition("=")
        column = _COLUMNS.get(_ALIASES.get(name, name))
        if column is None:
            raise Unsupported(f"ps_args column {name[:40]!r} is not built yet", f"there are {', '.join(_COLUMNS)}")
        columns.append((title[:64] or column[0], column[1]))
    return columns
