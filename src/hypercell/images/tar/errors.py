# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a layer: the member it is about, and the rule that it breaks."""

from __future__ import annotations

from hypercell.base.errors import InvalidArgument


def printable(name: bytes) -> str:
    """A member's name for people: at most 200 characters, nothing that a terminal would act on."""
    text = name.decode("utf-8", "backslashreplace")
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:200])
    return shown + "…" if len(text) > 200 else shown


class LayerError(InvalidArgument):
    """A layer cannot be used. `member` is the name of the archive member (may be empty), `rule` what it breaks."""

    def __init__(self, rule: str, member: bytes = b"", hint: str = "") -> None:
        self.rule = rule
        self.member = member
        super().__init__(f"layer member {printable(member)!r}: {rule}" if member else f"layer: {rule}", hint)


class MalformedArchive(LayerError):
    """Not a tar archive, truncated, or such that two readers would not agree on what it says."""

    def __init__(self, rule: str, member: bytes = b"") -> None:
        super().__init__(rule, member, "rebuild the image with a current builder, or report the tool that wrote it")


class LimitExceeded(LayerError):
    """The layer is well-formed but asks for more than the limits of this machine allow."""

    def __init__(self, rule: str, member: bytes = b"") -> None:
        super().__init__(rule, member, "make the image smaller, or raise the limit in the configuration")
