# SPDX-License-Identifier: Apache-2.0
"""The columns of ps(1), told of the rows that a guest's agent gives."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from hypercell.base.durations import SECOND

Row = Mapping[str, Any]
Tell = Callable[[Row, int], str]
"""A row, and what time it is (nanoseconds since 1970), to the text of a cell."""
Column = tuple[str, Tell]
"""Its title, and what it tells."""
_DAY = 24 * 3600
_PAGE = 4096


def clock(seconds: float) -> str:
    """`[days-]hours:minutes:seconds`."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    return f"{f'{days}-' if days else ''}{hour:02}:{minute:02}:{second:02}"


def _number(row: Row, name: str, default: int = 0) -> int:
    """What a guest says is a number, or what an older agent does not say."""
    value = row.get(name, default)
    return value if isinstance(value, int) else default


def _plain(name: str, other: str = "") -> Tell:
    """The number itself; without it that of *other*."""
    return lambda row, now: str(_number(row, name, _number(row, other) if other else 0))


def _account(name: str, other: str = "") -> Tell:
    """Of a user or a group: the image's names are not the guest's."""
    return lambda row, now: "root" if (number := _plain(name, other)(row, now)) == "0" else number


def _age(row: Row, now: int) -> float:
    return max((now - int(row["started_ns"])) / SECOND, 0.001)


def _usage(row: Row, now: int) -> str:
    return str(min(int(row["cpu_seconds"] * 100 / _age(row, now)), 99))


def _share(row: Row, now: int) -> str:
    return f"{min(row['cpu_seconds'] * 100 / _age(row, now), 999):.1f}"


def _memory(row: Row, now: int) -> str:
    return f"{min(_number(row, 'rss') * 100 / max(_number(row, 'memory_total'), 1), 99.9):.1f}"


def _started(row: Row, now: int) -> str:
    started = time.localtime(row["started_ns"] // SECOND)
    today = time.localtime(now // SECOND)
    same_day = started[:3] == today[:3]
    return time.strftime("%H:%M" if same_day else "%b%d" if started[0] == today[0] else "%Y", started)


def _start_of(today: str, before: str) -> Tell:
    """In the form *today*, or *before* that of more than a day ago."""

    def tell(row: Row, now: int) -> str:
        return time.strftime(before if _age(row, now) > _DAY else today, time.localtime(row["started_ns"] // SECOND))

    return tell


def _status(row: Row, now: int) -> str:
    nice = _number(row, "nice")
    session = _number(row, "sid") == row["pid"]
    threads = _number(row, "threads", 1) > 1
    foreground = _number(row, "tpgid", -1) == _number(row, "pgid") > 0
    marks = ((nice < 0, "<"), (nice > 0, "N"), (session, "s"), (threads, "l"), (foreground, "+"))
    return str(row["state"])[:1] + "".join(mark for holds, mark in marks if holds)


def _command(row: Row, now: int) -> str:
    # A process without arguments is a kernel thread or a zombie: ps shows its name in brackets.
    return " ".join(row["args"]) if row["args"] else f"[{row['comm']}]"


def _kib(name: str) -> Tell:
    return lambda row, now: str(_number(row, name) // 1024)


def _tty(row: Row, now: int) -> str:
    return str(row["tty"] or "?")


def _cpu_minutes(row: Row, now: int) -> str:
    minutes, seconds = divmod(int(row["cpu_seconds"]), 60)
    return f"{minutes}:{seconds:02}"


_BY_TITLE: dict[str, tuple[str, Tell]] = {
    "PID": ("pid", _plain("pid")),
    "PPID": ("ppid", _plain("ppid")),
    "PGID": ("pgid", _plain("pgid")),
    "PGRP": ("pgrp", _plain("pgid")),
    "SID": ("sid", _plain("sid")),
    "SESS": ("sess session", _plain("sid")),
    "TPGID": ("tpgid", lambda row, now: str(_number(row, "tpgid", -1))),
    "UID": ("uid", _plain("uid")),
    "EUID": ("euid", _plain("uid")),
    "RUID": ("ruid", _plain("ruid", "uid")),
    "GID": ("gid", _plain("gid")),
    "EGID": ("egid", _plain("gid")),
    "RGID": ("rgid", _plain("rgid", "gid")),
    "USER": ("user uname", _account("uid")),
    "EUSER": ("euser", _account("uid")),
    "RUSER": ("ruser", _account("ruid", "uid")),
    "GROUP": ("group", _account("gid")),
    "EGROUP": ("egroup", _account("gid")),
    "RGROUP": ("rgroup", _account("rgid", "gid")),
    "C": ("c", _usage),
    "%CPU": ("pcpu %cpu", _share),
    "%MEM": ("pmem %mem", _memory),
    "VSZ": ("vsz vsize", _kib("vsz")),
    "RSS": ("rss rssize", _kib("rss")),
    "RSZ": ("rsz", _kib("rss")),
    "SZ": ("sz", lambda row, now: str(_number(row, "vsz") // _PAGE)),
    "F": ("f flag flags", lambda row, now: f"{_number(row, 'flags') >> 6 & 7:o}"),
    "NI": ("ni nice", _plain("nice")),
    "PRI": ("pri", lambda row, now: str(39 - _number(row, "priority", 20))),
    "PSR": ("psr", _plain("processor")),
    "NLWP": ("nlwp", lambda row, now: str(_number(row, "threads", 1))),
    "THCNT": ("thcount", lambda row, now: str(_number(row, "threads", 1))),
    "STAT": ("stat", _status),
    "S": ("s state", lambda row, now: str(row["state"])[:1]),
    "TT": ("tty tt", _tty),
    "TTY": ("tname", _tty),
    "STIME": ("stime", _started),
    "START": ("start_time", _started),
    "ELAPSED": ("etime", lambda row, now: clock(_age(row, now)).removeprefix("00:")),
    "TIME": ("time cputime", lambda row, now: clock(row["cpu_seconds"])),
    "COMMAND": ("args command", _command),
    "CMD": ("cmd", _command),
}
_MORE: dict[str, Column] = {
    "start": ("STARTED", _start_of("%H:%M:%S", "%b %d")),
    "bsdstart": ("START", _start_of("%H:%M", "%b %d")),
    "lstart": ("STARTED", _start_of("%a %b %e %H:%M:%S %Y", "%a %b %e %H:%M:%S %Y")),
    "etimes": ("ELAPSED", lambda row, now: str(int(_age(row, now)))),
    "cputimes": ("TIME", lambda row, now: str(int(row["cpu_seconds"]))),
    "bsdtime": ("TIME", _cpu_minutes),
    "comm": ("COMMAND", lambda row, now: str(row["comm"])),
    "ucomm": ("COMMAND", lambda row, now: str(row["comm"])),
    "ucmd": ("CMD", lambda row, now: str(row["comm"])),
    "fname": ("COMMAND", lambda row, now: str(row["comm"])[:8]),
}
COLUMNS: dict[str, Column] = {
    **{name: (title, tell) for title, (names, tell) in _BY_TITLE.items() for name in names.split()},
    **_MORE,
}
"""By the names that `ps -o` takes."""
