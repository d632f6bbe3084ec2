# SPDX-License-Identifier: Apache-2.0
"""Dockerfiles, read: logical lines, forms, flags, and what is said about the wrong ones."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercell.base.errors import HypercellError, InvalidArgument, Unsupported
from hypercell.engines.build.instructions import Arg, Copy, Edit, From, Maintainer, Run, Shell, Workdir
from hypercell.engines.build.lines import read
from hypercell.engines.build.parser import parse, parse_trigger

NAMES = ["FROM", "RUN", "COPY", "ADD", "ARG", "ENV", "SHELL", "ONBUILD", "WORKDIR", "HEALTHCHECK", "# escape="]


def only(text: str) -> object:
    _, steps = parse(text.encode())
    assert len(steps) == 1
    return steps[0]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("FROM a\nRUN b", [(1, "FROM", "a"), (2, "RUN", "b")]),
        ("\ufefffrom a\r\n", [(1, "FROM", "a")]),
        ("  \n# c\n  RUN  a  b  \n", [(3, "RUN", "a  b")]),
        ("RUN a \\\n  b \\  \n# c\n\n  c\nRUN d", [(1, "RUN", "a   b   c"), (6, "RUN", "d")]),
        ("RUN a\\\\\nRUN b", [(1, "RUN", "a\\\\"), (2, "RUN", "b")]),
        ("RUN a \\", [(1, "RUN", "a")]),
        ("\\\n\\\n\nRUN a", [(1, "RUN", "a")]),
        ("RUN a\n\\", [(1, "RUN", "a")]),
        ("RUN \\\n\\\nb", [(1, "RUN", "b")]),
        ("# escape=`\nRUN a\\\nRUN b`\nc", [(2, "RUN", "a\\"), (3, "RUN", "bc")]),
        ("# syntax=x\n# Escape = `\nRUN a`\nb", [(3, "RUN", "ab")]),
        ("# about\n# escape=`\nRUN a`", [(3, "RUN", "a`")]),
        ("\n# escape=`\nRUN a`", [(3, "RUN", "a`")]),
    ],
)
def test_physical_lines_become_logical_ones(text: str, lines: list[tuple[int, str, str]]) -> None:
    assert [(line.number, line.name, line.rest) for line in read(text.encode()).lines] == lines


def test_heredocs_reach_to_their_ends() -> None:
    text = "RUN <<A cat <<-'B' >x\n$a\nA\n\t\tb\n\tB\nCOPY <<C <<\"D\" /\nc\\\nC\nD\nRUN echo '<<E' $((1<<2))\n"
    run, copy, plain = read(text.encode()).lines
    assert [(each.name, each.content, each.expands) for each in run.heredocs] == [
        ("A", "$a\n", True),
        ("B", "b\n", False),
    ]
    assert [(each.name, each.content, each.expands) for each in copy.heredocs] == [
        ("C", "c\\\n", True),
        ("D", "", False),
    ]
    assert plain.number == 10 and plain.heredocs == ()


def test_a_heredoc_alone_is_the_script_and_else_goes_to_the_shell() -> None:
    assert isinstance(step := only("RUN <<A\na\nb\nA"), Run) and step.command == "a\nb\n"
    assert isinstance(step := only("RUN sh <<A\na\nA"), Run) and step.command == "sh <<A\na\nA\n"
    assert isinstance(step := only("RUN <<A\n#!/bin/awk -f\na\nA"), Run)
    assert step.command == "/bin/awk -f /dev/fd/3 3<<'HEREDOC'\n#!/bin/awk -f\na\nHEREDOC\n"


def test_each_instruction_is_understood() -> None:
    text = """FROM --platform=linux/amd64 a:1 As Base
ARG A B=c D="e f"
ENV A=1
WORKDIR /x y
SHELL ["a", "b"]
MAINTAINER me
RUN --network=none --mount=type=tmpfs,target=/t,size=1m a --b
RUN ["a", "b"]
RUN [a]
COPY --from=base --chown=1:2 --chmod=755 --link a "b c" /d/
ADD ["a b", "/c"]
"""
    _, steps = parse(text.encode())
    base, arg, env, workdir, shell, maintainer, run, exec_form, shell_form, copy, add = steps
    assert isinstance(base, From) and (base.image, base.name, base.platform) == ("a:1", "base", "linux/amd64")
    assert isinstance(arg, Arg) and arg.pairs == (("A", None), ("B", "c"), ("D", '"e f"'))
    assert isinstance(env, Edit) and (env.name, env.rest) == ("ENV", "A=1")
    assert isinstance(workdir, Workdir) and workdir.path == "/x y"
    assert isinstance(shell, Shell) and shell.words == ("a", "b")
    assert isinstance(maintainer, Maintainer) and maintainer.who == "me"
    assert isinstance(run, Run) and (run.command, run.words, run.network) == ("a --b", None, "none")
    assert run.tmpfs == {"/t": "size=1m"}
    assert isinstance(exec_form, Run) and exec_form.words == ("a", "b")
    assert isinstance(shell_form, Run) and (shell_form.command, shell_form.words) == ("[a]", None)
    assert isinstance(copy, Copy) and (copy.sources, copy.destination) == (("a", '"b c"'), "/d/")
    assert (copy.source, copy.chown, copy.chmod, copy.unpacks) == ("base", "1:2", "755", False)
    assert isinstance(add, Copy) and (add.sources, add.destination, add.unpacks) == (("a b",), "/c", True)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("", 0, "empty"), ("# only a comment", 0, "empty"), ("FROM a\nWHAT b", 2, "unknown instruction: WHAT"),
        ("FROM", 1, "at least one"), ("FROM a b", 1, "one or three"), ("FROM a AS 1x", 1, "invalid name"),
        ("FROM a\n\nARG 1=2", 3, "ARG"), ("SHELL a", 1, "JSON"), ("COPY a", 1, "two arguments"),
        ("COPY --what a b", 1, "unknown flag: --what"),
        ("ADD --from=x a b", 1, "--from"), ("RUN --what a", 1, "--what"),
        ("RUN <<A\nx", 1, "unterminated"), ("# escape=x\nRUN a", 1, "escape token"),
        ("# escape=`\n# escape=`\nRUN a", 2, "only one"), ("RUN --mount=type=tmpfs a", 1, "mount"),
        ("RUN --network=none", 1, "RUN"),
        ("FROM a\0", 0, "NUL"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line(text: str, line: int, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said) as caught:
        parse(text.encode())
    assert not line or caught.value.message.startswith(f"dockerfile parse error on line {line}: ")


@pytest.mark.parametrize(
    "text",
    [
        "RUN --mount=type=secret,id=a b", "RUN --mount=type=cache,target=/c b", "RUN --mount=target=/c b",
        "RUN --security=insecure a", "RUN --network=host a", "ADD https://host/a /b", "ADD git@host:a /b",
        "COPY --parents a b", "COPY --exclude=a b c", "ADD --checksum=x a b",
    ],
)  # fmt: skip
def test_what_is_not_built_is_refused_with_what_to_do(text: str) -> None:
    with pytest.raises(Unsupported) as caught:
        parse(text.encode())
    assert caught.value.hint


@pytest.mark.parametrize("trigger", ["FROM x", "ONBUILD RUN x", "MAINTAINER x", "", "RUN a\nRUN b"])
def test_what_an_image_says_may_be_no_trigger(trigger: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_trigger(trigger, "\\")


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.text(max_size=30)), max_size=6))
def test_any_text_is_either_refused_or_understood(lines: list[tuple[str, str]]) -> None:
    with contextlib.suppress(HypercellError):
        parse("\n".join(f"{name} {rest}" for name, rest in lines).encode(errors="replace"))


@given(st.binary(max_size=200))
def test_any_bytes_are_either_refused_or_understood(data: bytes) -> None:
    with contextlib.suppress(HypercellError):
        parse(data)
