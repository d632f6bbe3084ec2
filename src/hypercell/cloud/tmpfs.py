# SPDX-License-Identifier: Apache-2.0
"""`--tmpfs PATH:OPTIONS`, with docker's defaults."""

from __future__ import annotations

import re

from hypercell.base.errors import InvalidArgument

_DEFAULTS = ("noexec", "nosuid", "nodev")
_FLAGS = """
ro rw exec noexec suid nosuid dev nodev sync async dirsync atime noatime diratime nodiratime relatime norelatime
strictatime nostrictatime mand nomand defaults private rprivate shared rshared slave rslave unbindable
"""
_VALUES = {
    "size": re.compile(r"[0-9]+[kmgKMG%]?"),
    "mode": re.compile(r"[0-7]{1,4}"),
    "uid": re.compile(r"[0-9]{1,10}"),
    "gid": re.compile(r"[0-9]{1,10}"),
    "nr_inodes": re.compile(r"[0-9]+[kmgKMG]?"),
    "nr_blocks": re.compile(r"[0-9]+[kmgKMG]?"),
    "mpol": re.compile(r"[a-z:=,0-9-]+"),
}


def options(text: str) -> list[str]:
    """The mount options, those of the user after the defaults that they do not contradict. Raises `InvalidArgument`."""
    chosen = [option for option in text.split(",") if option]
    for option in chosen:
        name, equals, value = option.partition("=")
        known = _VALUES[name].fullmatch(value) is not None if equals and name in _VALUES else option in _FLAGS.split()
        if not known:
            raise InvalidArgument(f"invalid tmpfs option {option!r}", "see tmpfs(5)")
    kept = [default for default in _DEFAULTS if default.removeprefix("no") not in chosen and default not in chosen]
    return [*kept, *(option for option in chosen if option != "defaults")]
