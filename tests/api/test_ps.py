# SPDX-License-Identifier: Apache-2.0
"""The arguments of ps: which columns they ask for, and what the columns tell. Titles are those of procps's own ps."""

from __future__ import annotations

import pytest

from hypercell.api.docker import ps
from hypercell.api.docker.ps_columns import COLUMNS
from hypercell.base.durations import SECOND
from hypercell.base.errors import InvalidArgument, Unsupported

_AUX = "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND"


@pytest.mark.parametrize(
    ("arguments", "titles"),
    [
        ("-ef", "UID PID PPID C STIME TTY TIME CMD"),
        ("-A -f -ww", "UID PID PPID C STIME TTY TIME CMD"),
        ("-e", "PID TTY TIME CMD"),
        ("-eF", "UID PID PPID C SZ RSS PSR STIME TTY TIME CMD"),
        ("-ej", "PID PGID SID TTY TIME CMD"),
        ("-efj", "UID PID PPID PGID SID C STIME TTY TIME CMD"),
        ("-jF", "UID PID PPID PGID SID C SZ RSS PSR STIME TTY TIME CMD"),
        ("aux", _AUX),
        ("axu", _AUX),
        ("ax", "PID TTY STAT TIME COMMAND"),
        ("j", "PPID PID PGID SID TTY TPGID STAT UID TIME COMMAND"),
        ("-eo pid,comm=NAME,user", "PID NAME USER"),
        ("-opid -o etime", "PID ELAPSED"),
        ("axo pid,tname", "PID TTY"),
        ("--format pid,%cpu", "PID %CPU"),
        ("--format=pid", "PID"),
        ("-O user", "PID USER S TTY TIME COMMAND"),
    ],
)
def test_arguments_are_the_columns_that_ps_shows(arguments: str, titles: str) -> None:
    assert [title for title, _ in ps.parse(arguments)] == titles.split()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("-o odd", 'ps: error: unknown user-defined format specifier "odd"'),
        ("-o", "ps: error: format specification must follow -o"),
        ("-o pid,", 'ps: error: unknown user-defined format specifier ""'),
        ("aux -o pid", "ps: error: conflicting format options"),
        ("ju", "ps: error: conflicting format options"),
        ("-ef u", "ps: error: conflicting format options"),
        ("-X", "ps: error: unsupported SysV option"),
        ("K", "ps: error: unsupported option (BSD syntax)"),
        ("-", "ps: error: improper list"),
        ("x" * 1025, "ps_args: more than 1024 characters"),
    ],
)
def test_what_ps_refuses_is_refused_in_its_words(arguments: str, words: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        ps.parse(arguments)
    assert refused.value.message == words


@pytest.mark.parametrize("arguments", ["-l", "-eL", "f", "l", "-q 1", "1", "--forest", "--sort=pid"])
def test_what_only_the_hosts_ps_can_do_is_refused_by_name(arguments: str) -> None:
    with pytest.raises(Unsupported, match="is not built yet"):
        ps.parse(arguments)


_OLD = {"pid": 7, "ppid": 1, "uid": 5, "gid": 0, "cpu_seconds": 75.0, "started_ns": 1_700_000_000 * SECOND} | {
    "tty": "pts/0",
    "state": "S",
    "comm": "a-very-long-nam",
    "args": ["a", "b"],
}
_ROW = (
    _OLD
    | {"pgid": 7, "sid": 7, "tpgid": 7, "ruid": 0, "rgid": 6, "flags": 0x100, "priority": 25, "nice": 5}
    | {"threads": 3, "processor": 1, "vsz": 1 << 20, "rss": 1 << 18, "memory_total": 1 << 20}
)


@pytest.mark.parametrize(
    ("names", "cells"),
    [
        ("pid ppid pgid sid tpgid", "7 1 7 7 7"),
        ("uid user gid group ruid ruser rgid rgroup", "5 5 0 root 0 root 6 6"),
        ("c %cpu %mem vsz rss sz", "50 50.0 25.0 1024 256 256"),
        ("f ni pri nlwp psr stat s tty", "4 5 14 3 1 SNsl+ S pts/0"),
        ("etime etimes time cputimes bsdtime", "02:30 150 00:01:15 75 1:15"),
        ("comm fname", "a-very-long-nam a-very-l"),
    ],
)
def test_columns_tell_what_ps_tells(names: str, cells: str) -> None:
    now = 1_700_000_150 * SECOND
    assert [COLUMNS[name][1](_ROW, now) for name in names.split()] == cells.split()


def test_an_agent_that_tells_less_is_understood() -> None:
    for name, (_, tell) in COLUMNS.items():
        assert isinstance(tell(_OLD, 1_700_000_150 * SECOND), str), name
    assert COLUMNS["ruid"][1](_OLD, 0) == "5"
