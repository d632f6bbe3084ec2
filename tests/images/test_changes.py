# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercell.base.errors import InvalidArgument
from hypercell.images.archives import changes, words


def check(test: list[str], **more: int) -> dict[str, Any]:
    return {"Healthcheck": {"Test": test, **more}}


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (['CMD ["/bin/sh", "-l"]'], {"Cmd": ["/bin/sh", "-l"]}),
        (["cmd echo $HOME 'x'"], {"Cmd": ["/bin/sh", "-c", "echo $HOME 'x'"]}),
        (["CMD [not json]"], {"Cmd": ["/bin/sh", "-c", "[not json]"]}),
        (["CMD []"], {"Cmd": []}),
        (["CMD sh", 'ENTRYPOINT ["/init"]'], {"Entrypoint": ["/init"], "Cmd": ["/bin/sh", "-c", "sh"]}),
        (["ENV A=1 B='two words' C=\"x y\""], {"Env": ["A=1", "B=two words", "C=x y"]}),
        (["ENV A some words"], {"Env": ["A=some words"]}),
        (["ENV A=1", "ENV B=$A/${A}/${N:-none}/${A:+set} C='$A'"], {"Env": ["A=1", "B=1/1/none/set", "C=$A"]}),
        (["ENV A=", "ENV B=${A-x}${A:-y}${A+z}${A:+w}${N+n}${N-m}"], {"Env": ["A=", "B=yzm"]}),
        (
            ["ENV A=a.tar.gz", "ENV B=${A%.*} C=${A%%.*} D=${A#*.} E=${A##*.}"],
            {"Env": ["A=a.tar.gz", "B=a.tar", "C=a", "D=tar.gz", "E=gz"]},
        ),
        (
            ["ENV A=a-b-c", "ENV B=${A/-/+} C=${A//-/} D=${A//?/x} E=${A/\\?/x}"],
            {"Env": ["A=a-b-c", "B=a+b-c", "C=abc", "D=xxxxx", "E=a-b-c"]},
        ),
        (
            ["ENV A=1", 'ENV B=${N:-${A:-2}${A}} C="${N:-a b}" D=$ E=\\$A'],
            {"Env": ["A=1", "B=11", "C=a b", "D=$", "E=$A"]},
        ),
        (
            ["ENTRYPOINT x", "CMD y", "ENTRYPOINT z"],
            {"Entrypoint": ["/bin/sh", "-c", "z"], "Cmd": ["/bin/sh", "-c", "y"]},
        ),
        (["ENV A=1", "ENV A=2"], {"Env": ["A=2"]}),
        (["ENV A=a\\ b"], {"Env": ["A=a b"]}),
        (["EXPOSE 80 53/udp"], {"ExposedPorts": {"80/tcp": {}, "53/udp": {}}}),
        (["EXPOSE 8000-8002"], {"ExposedPorts": {"8000/tcp": {}, "8001/tcp": {}, "8002/tcp": {}}}),
        (['LABEL a=b "c d"="e f"'], {"Labels": {"a": "b", "c d": "e f"}}),
        (["USER 1000:1000"], {"User": "1000:1000"}),
        (['VOLUME ["/a", "/b"]', "VOLUME /c /../d"], {"Volumes": {"/a": {}, "/b": {}, "/c": {}, "/d": {}}}),
        (["WORKDIR /a", "WORKDIR b", "WORKDIR ../c"], {"WorkingDir": "/a/c"}),
        (["STOPSIGNAL SIGQUIT"], {"StopSignal": "SIGQUIT"}),
        (["STOPSIGNAL 9"], {"StopSignal": "9"}),
        (["STOPSIGNAL RTMIN+3"], {"StopSignal": "RTMIN+3"}),
        (["ONBUILD RUN x", "ONBUILD COPY . /"], {"OnBuild": ["RUN x", "COPY . /"]}),
        (["HEALTHCHECK CMD curl -f localhost || exit 1"], check(["CMD-SHELL", "curl -f localhost || exit 1"])),
        (['HEALTHCHECK cmd ["/check", "a b"]'], check(["CMD", "/check", "a b"])),
        (["HEALTHCHECK CMD true", "HEALTHCHECK none"], check(["NONE"])),
        (
            ["HEALTHCHECK --interval=1m --timeout=2s  --start-period=0s --start-interval=1.5s --retries=4 CMD true"],
            check(["CMD-SHELL", "true"], Interval=60 * 10**9, Timeout=2 * 10**9, StartInterval=1500 * 10**6, Retries=4),
        ),
    ],
)
def test_instructions_edit_the_config_as_docker_does(lines: list[str], expected: dict[str, Any]) -> None:
    assert changes.apply(lines, {}) == expected


@pytest.mark.parametrize(
    "line",
    [
        "", "CMD", "RUN rm -rf /", "FROM x", "COPY a b", "ENV A", "ENV =x", "ENV A=1 B", "LABEL 'a", "EXPOSE nope",
        "EXPOSE 0", "EXPOSE 70000", "USER a b", "VOLUME /", "VOLUME [\"\"]", "STOPSIGNAL SIGNOPE", "STOPSIGNAL 65",
        "ENV A=${B", "ENV A=${B?x}", "ENV A=${B:?}", "ENV A=${:-x}",
        "ENV A=${B:#x}", "ENV A=${B^}", "ENV A=\"x", "CMD a\0b", "HEALTHCHECK x",
        "HEALTHCHECK CMD", "HEALTHCHECK CMD []",
        "HEALTHCHECK NONE x", "HEALTHCHECK --interval=1us CMD x", "HEALTHCHECK --interval=-1s CMD x",
        "HEALTHCHECK --timeout=5 CMD x", "HEALTHCHECK --retries=-1 CMD x", "HEALTHCHECK --retries=1",
        "HEALTHCHECK --odd=1 CMD x",
    ],
)  # fmt: skip
def test_a_wrong_instruction_is_refused(line: str) -> None:
    with pytest.raises(InvalidArgument):
        changes.apply([line], {})


@given(
    st.text(max_size=40),
    st.sampled_from(["ENV", "LABEL", "EXPOSE", "VOLUME", "USER", "WORKDIR", "STOPSIGNAL", "HEALTHCHECK"]),
)
def test_any_text_is_either_refused_or_understood(text: str, name: str) -> None:
    with contextlib.suppress(InvalidArgument):
        changes.apply([f"{name} {text}"], {"Env": ["A=1"]})


@given(st.lists(st.text(alphabet="ab c'\"$\\{}", min_size=1, max_size=6), max_size=4))
def test_quoting_a_word_preserves_it(values: list[str]) -> None:
    quoted = " ".join('"' + re.sub(r'([\\"$])', r"\\\1", value) + '"' for value in values)
    assert [words.expand(word, {}) for word in words.split(quoted)] == values


def test_an_entrypoint_drops_the_command_of_the_image_that_it_edits() -> None:
    assert changes.apply(['ENTRYPOINT ["/init"]'], {"Cmd": ["sh"]}) == {"Entrypoint": ["/init"]}


def test_values_cannot_be_doubled_without_end() -> None:
    with pytest.raises(InvalidArgument, match="longer than"):
        changes.apply(["ENV A=0123456789", *["ENV A=$A$A$A$A$A$A$A$A"] * 8], {})
    with pytest.raises(InvalidArgument, match="nested"):
        changes.apply(["ENV A=" + "${B:-" * 100 + "x" + "}" * 100], {})
    with pytest.raises(InvalidArgument, match="too long"):
        changes.apply([f"ENV A={'a' * 10_000}", "ENV B=${A//*a*a*a*b/}"], {})


def test_all_patterns_of_one_commit_or_build_together_are_bounded() -> None:
    slow = "${V##" + "a*" * 100 + "b}"  # tries everything, and is short enough alone
    given = ["ENV V=" + "a" * 1000]
    changes.apply([*given, f"LABEL once={slow}"], {})
    with pytest.raises(InvalidArgument, match="take too long"):
        changes.apply([*given, *[f"LABEL often={slow}"] * 100], {})
    with pytest.raises(InvalidArgument, match="take too long"):
        words.expand(slow * 100, {"V": "a" * 1000})
