# SPDX-License-Identifier: Apache-2.0
"""What tells two COPYs apart, and the variables in what they copy."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from hypercell.engines.build.copying import Copying, _moved, _top
from hypercell.engines.build.instructions import Copy
from hypercell.engines.build.parser import parse
from hypercell.engines.build.staging import Staged, Staging
from hypercell.engines.build.tree import Entry, Tree
from hypercell.images.archives.words import expand


def context() -> Staged:
    tree = Tree()
    for name, digest in (("a", "1"), ("b", "2"), ("same", "1"), ("a b", "1")):
        tree.add(name, Entry("file", 0o644, digest=digest))
    return Staged(io.BytesIO(), tree)


def copying(line: str, tmp_path: Path, variables: Mapping[str, str]) -> Copying:
    (step,) = parse(line.encode())[1]
    assert isinstance(step, Copy)
    return Copying(step, context(), Staging(tmp_path, 0), lambda word: expand(word, variables), "\\")


def key(line: str, tmp_path: Path, **variables: str) -> str:
    made = copying(line, tmp_path, variables)
    return json.dumps(made.key(made.source("sha256:x" if "--from" in line else "")))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("COPY a /x", "COPY a /x", True),
        ("COPY a /x", "COPY $A /x", True),
        ("COPY a /x", "COPY b /x", False),
        ("COPY a /x", "ADD a /x", False),
        ("COPY a /x", "COPY a /y", False),
        ("COPY a /x", "COPY --chown=1 a /x", False),
        ("COPY a /x", "COPY --chmod=600 a /x", False),
        ("COPY a b /x/", 'COPY ["a b", "/x/"]', False),
        ("COPY --from=s a b /x/", 'COPY --from=s ["a b", "/x/"]', False),
        ("COPY <<E /x\n$A\nE", "COPY <<E /x\na\nE", True),
        ("COPY <<E /x\n$A\nE", "COPY <<'E' /x\n$A\nE", False),
    ],
)
def test_two_of_them_are_the_same_if_they_put_the_same_there(one: str, other: str, same: bool, tmp_path: Path) -> None:
    assert (key(one, tmp_path, A="a") == key(other, tmp_path, A="a")) is same


def test_quotes_mean_nothing_in_a_heredoc_and_the_escape_guards_a_variable(tmp_path: Path) -> None:
    made = copying("COPY <<E /x\n\"$A\" '${A}' \\$A \\n `\nE", tmp_path, {"A": "a"})
    assert made._texts == [("E", "\"a\" 'a' $A \\n `\n")]


@pytest.mark.parametrize(
    ("source", "top"), [("/a/b", "a/b"), ("a/*/b", "a"), ("*", ""), ("/", ""), ("a/../../b", "b"), ("a[b]/c", "")]
)
def test_what_is_fetched_of_an_image_ends_before_the_first_pattern(source: str, top: str) -> None:
    assert _top(source) == top


def test_members_of_an_image_are_found_where_they_were_asked_for() -> None:
    assert _moved("real", "lib/link", "real") == "lib/link"
    assert _moved("real", "lib/link", "real/x/y") == "lib/link/x/y"
    assert _moved("", "", "etc/passwd") == "etc/passwd"
    assert _moved("real", "lib/link", "reality") is None
