# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a layer: the member it is about, and the rule that it breaks."""

from __future__ import annotations

from hypercell.base.errors import InvalidArgument


def printable(name: bytes) -> str:
    """A member's name for people: at most 200 characters, nothing that a terminal would act on."""
    text = name.decode("utf-8", "backslashreplace")
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:200])
    return shown + "…" if len(text) > 200 else shown


class LayerError(InvalidArgument):
    """A layer cannot be used: `rule` says what it breaks, `member` is the archive member's name (may be empty),
    `layer` the layer's index, lowest first, or -1 while that is not known."""

    advice = ""

    def __init__(self, rule: str, member: bytes = b"", layer: int = -1) -> None:
        self.rule = rule
        self.member = member
        self.layer = layer
        where = f"layer {layer + 1}" if layer >= 0 else "layer"
        super().__init__(
            f"{where}, member {printable(member)!r}: {rule}" if member else f"{where}: {rule}", self.advice
        )


class MalformedArchive(LayerError):
    """Not a tar archive, truncated, or such that two readers would not agree on what it says."""

    advice = "rebuild the image with a current builder, or report the tool that wrote it"


class LimitExceeded(LayerError):
    """The layer is well-formed but asks for more than the limits of this machine allow."""

    advice = "make the image smaller, or raise the limit in the configuration"


class DigestMismatch(LayerError):
    """The uncompressed archive is not the one that the image's config names."""

    advice = "pull or load the image again"
