# SPDX-License-Identifier: Apache-2.0
"""Which versions of the Engine API are spoken, and what the answers say of us."""

from __future__ import annotations

from hypercell import __version__
from hypercell.api.http import Headers, Version
from hypercell.base.errors import InvalidArgument

NEWEST = (1, 51)
OLDEST = (1, 24)
NEWEST_TEXT = "1.51"
OLDEST_TEXT = "1.24"

HEADERS: Headers = (
    ("Api-Version", NEWEST_TEXT),
    ("Docker-Experimental", "false"),
    ("Ostype", "linux"),
    # Clients read the operating system out of this header with a pattern that wants the word Docker.
    ("Server", f"Docker/28 hypercell/{__version__} (linux)"),
)


def check_version(version: Version) -> Version:
    """The version to serve a request with. Raises `InvalidArgument` for one that is not spoken."""
    if not version:
        return NEWEST
    text = ".".join(map(str, version))
    if version < OLDEST:
        raise InvalidArgument(
            f"client version {text} is too old. Minimum supported API version is {OLDEST_TEXT}, "
            "please upgrade your client to a newer version"
        )
    if version > NEWEST:
        raise InvalidArgument(f"client version {text} is too new. Maximum supported API version is {NEWEST_TEXT}")
    return version
