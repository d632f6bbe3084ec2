# SPDX-License-Identifier: Apache-2.0
"""Image names: the reference grammar of the distribution project, and docker's familiar short forms.

`busybox` is short for `docker.io/library/busybox:latest`; a first component with a dot, a colon or an upper-case
letter, or `localhost`, is a registry. Grammar: `reference/regexp.go` of distribution/reference.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from hypercell.base.errors import InvalidArgument
from hypercell.images import digests
from hypercell.images.digests import Digest

DEFAULT_DOMAIN = "docker.io"
OFFICIAL_PREFIX = "library/"
DEFAULT_TAG = "latest"
MAX_NAME = 255
"""Characters of a repository with its domain."""

_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]{{1,5}})?"
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_NAME = re.compile(rf"({_DOMAIN})/({_COMPONENT}(?:/{_COMPONENT})*)")
_ID = re.compile(r"[a-f0-9]{64}")
_PREFIX = re.compile(r"(?:sha256:)?([a-f0-9]{1,64})")


@dataclass(frozen=True, slots=True)
class Reference:
    """A repository with a tag, a digest, both or neither. Made by `parse`, so all parts are valid."""

    domain: str
    path: str
    tag: str = ""
    digest: Digest | None = None

    @property
    def name(self) -> str:
        """The repository in full: `docker.io/library/busybox`."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """The repository as docker shows it: `busybox`."""
        return familiar(self.name)

    @property
    def familiar(self) -> str:
        return self.familiar_name + self._suffix()

    def __str__(self) -> str:
        return self.name + self._suffix()

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def or_latest(self) -> Reference:
        """Itself, with the default tag when it has neither tag nor digest."""
        return self if self.tag or self.digest else replace(self, tag=DEFAULT_TAG)

    def with_tag(self, tag: str) -> Reference:
        if _TAG.fullmatch(tag) is None:
            raise InvalidArgument(f"invalid tag format: {tag[:150]!r}")
        return replace(self, tag=tag, digest=None)


def parse(text: str) -> Reference:
    """*text*, normalised. Raises `InvalidArgument` in docker's words."""
    if len(text) > MAX_NAME + 1 + 128 + 1 + 71:
        raise InvalidArgument("invalid reference format: too long")
    rest, found, digest_text = text.partition("@")
    digest = digests.parse(digest_text) if found else None
    tag = ""
    colon = rest.rfind(":")
    if colon > rest.rfind("/"):
        rest, tag = rest[:colon], rest[colon + 1 :]
        if _TAG.fullmatch(tag) is None:
            raise _malformed(text)
    if _ID.fullmatch(rest):
        raise InvalidArgument(
            f"invalid repository name ({rest}), cannot specify 64-byte hexadecimal strings", "use sha256: for an id"
        )
    domain, path = _split(rest)
    match = _NAME.fullmatch(f"{domain}/{path}")
    if match is None:
        if path != path.lower() and _NAME.fullmatch(f"{domain}/{path.lower()}"):
            raise InvalidArgument(f"invalid reference format: repository name ({path}) must be lowercase")
        raise _malformed(text)
    if len(match[0]) > MAX_NAME:
        raise InvalidArgument(f"repository name must not be more than {MAX_NAME} characters")
    if not is_domain(domain):
        raise _malformed(text)
    return Reference(domain, path, tag, digest)


def is_domain(text: str) -> bool:
    """Whether *text* is the domain of a registry: `host[:port]`."""
    _, _, port = text.rpartition("]")[2].partition(":")
    return re.fullmatch(_DOMAIN, text) is not None and int(port or 0) <= 65535


def _split(name: str) -> tuple[str, str]:
    first, slash, remainder = name.partition("/")
    is_domain = slash and (any(c in first for c in ".:[") or first == "localhost" or first.lower() != first)
    domain, path = (first, remainder) if is_domain else (DEFAULT_DOMAIN, name)
    if domain == DEFAULT_DOMAIN and "/" not in path:
        path = OFFICIAL_PREFIX + path
    return domain, path


def _malformed(text: str) -> InvalidArgument:
    return InvalidArgument("invalid reference format", f"{text[:150]!r} is not [registry/]name[:tag][@digest]")


def familiar(name: str) -> str:
    """A full repository name in docker's short form, which is the same to `parse`."""
    path = name.removeprefix(f"{DEFAULT_DOMAIN}/")
    if path == name:
        return name
    short = path.removeprefix(OFFICIAL_PREFIX)
    # What would be read back as another repository stays longer: `library/a/b`, `docker.io/a.b/c`.
    for candidate in (short, path):
        if _split(candidate) == (DEFAULT_DOMAIN, path):
            return candidate
    return name


def id_prefix(text: str) -> str | None:
    """The hex digits of *text* when it can be an image id or the beginning of one."""
    match = _PREFIX.fullmatch(text)
    return match[1] if match else None
