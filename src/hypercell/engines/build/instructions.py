# SPDX-License-Identifier: Apache-2.0
"""What a Dockerfile can say, one class each; `parser.py` makes them."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypercell.engines.build.lines import Heredoc


@dataclass(frozen=True, slots=True)
class Instruction:
    line: int
    text: str
    """As it is told while it is carried out."""


@dataclass(frozen=True, slots=True)
class From(Instruction):
    image: str
    name: str = ""
    """Of the stage; empty: it has none."""
    platform: str = ""


@dataclass(frozen=True, slots=True)
class Arg(Instruction):
    pairs: tuple[tuple[str, str | None], ...]
    """Names and what they are without a `--build-arg`, not expanded yet."""


@dataclass(frozen=True, slots=True)
class Edit(Instruction):
    """Of the image's configuration alone."""

    name: str
    rest: str


@dataclass(frozen=True, slots=True)
class Workdir(Instruction):
    path: str


@dataclass(frozen=True, slots=True)
class Shell(Instruction):
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Maintainer(Instruction):
    who: str


@dataclass(frozen=True, slots=True)
class Run(Instruction):
    command: str
    words: tuple[str, ...] | None
    """The exec form; None: *command* is for the shell."""
    network: str = ""
    tmpfs: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Copy(Instruction):
    """COPY and ADD."""

    sources: tuple[str, ...]
    destination: str
    unpacks: bool
    """ADD: archives are unpacked."""
    source: str = ""
    """`--from`: a stage or an image; empty: the context."""
    chown: str = ""
    chmod: str = ""
    files: tuple[Heredoc, ...] = ()
    """Here-documents, which are copied after the sources."""
