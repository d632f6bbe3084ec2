# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercell.base.errors import InvalidArgument
from hypercell.images import digests, reference

DIGEST = "sha256:" + "a1" * 32


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("busybox", "docker.io/library/busybox", "busybox"),
        ("library/busybox", "docker.io/library/busybox", "busybox"),
        ("docker.io/busybox", "docker.io/library/busybox", "busybox"),
        ("docker.io/library/busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
        ("me/app:v1", "docker.io/me/app:v1", "me/app:v1"),
        ("localhost/app", "localhost/app", "localhost/app"),
        ("localhost:5000/a/b:1", "localhost:5000/a/b:1", "localhost:5000/a/b:1"),
        ("[::1]:5000/x", "[::1]:5000/x", "[::1]:5000/x"),
        ("Host/x", "Host/x", "Host/x"),
        (f"busybox@{DIGEST}", f"docker.io/library/busybox@{DIGEST}", f"busybox@{DIGEST}"),
        (f"a.b/x:t@{DIGEST}", f"a.b/x:t@{DIGEST}", f"a.b/x:t@{DIGEST}"),
        ("docker.io/library/a/b", "docker.io/library/a/b", "library/a/b"),
        ("a__b/c-d--e.f_g", "docker.io/a__b/c-d--e.f_g", "a__b/c-d--e.f_g"),
    ],
)
def test_names_are_normalised_as_docker_does(text: str, full: str, familiar: str) -> None:
    parsed = reference.parse(text)
    assert (str(parsed), parsed.familiar) == (full, familiar)


def test_a_bare_name_means_latest_but_one_with_a_digest_does_not() -> None:
    assert reference.parse("busybox").or_latest().familiar == "busybox:latest"
    assert reference.parse(f"busybox@{DIGEST}").or_latest().tag == ""


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "/", "a/", "/a", "a//b", ":tag", "a:", "a:b:c", "@" + DIGEST, "a@", "a@b", "a b", "a\n", "a:t\n",
        "../etc/passwd", "a/../b", "a/./b", "./a", ".a", "a.", "a..b", "-a", "a-", "a___b", "Repo", "a/B:c",
        "x" * 300, "host:99999/x", "host:5000000/x", "a\0b", "ü/x", "http://host/x", "a:" + "t" * 129, "a:.t",
        "a@sha512:" + "a" * 128, "a@md5:" + "a" * 32, "a@sha256:" + "A" * 64, "a@sha256:" + "a" * 63,
        "a@sha256:../../../../etc/passwd", f"a@{DIGEST}/../x", f"a@{DIGEST}\n", "e3" * 32, "host:٥/x",
    ],
)  # fmt: skip
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        reference.parse(text)


def test_upper_case_is_refused_in_words_that_help() -> None:
    with pytest.raises(InvalidArgument, match=r"repository name \(library/Busybox\) must be lowercase"):
        reference.parse("Busybox")


component = st.from_regex(r"[a-z0-9]{1,8}((\.|_|__|-{1,3})[a-z0-9]{1,8}){0,2}", fullmatch=True)
tag = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)
domain = st.from_regex(r"([a-z0-9]{1,8}(\.[a-z0-9]{1,8}){1,2}|localhost)(:[1-9][0-9]{0,3})?", fullmatch=True)


@given(domain, st.lists(component, min_size=1, max_size=3), tag, st.booleans())
def test_every_form_of_a_name_is_read_back_as_itself(host: str, path: list[str], tag: str, pinned: bool) -> None:
    text = f"{host}/{'/'.join(path)}:{tag}" + (f"@{DIGEST}" if pinned else "")
    parsed = reference.parse(text)
    assert str(parsed) == text
    assert reference.parse(parsed.familiar) == parsed


@given(st.lists(component, min_size=1, max_size=3), tag)
def test_familiar_names_are_never_ambiguous(path: list[str], tag: str) -> None:
    parsed = reference.parse(f"docker.io/{'/'.join(path)}:{tag}")
    assert reference.parse(parsed.familiar) == parsed


@given(st.text(max_size=80))
def test_arbitrary_text_is_either_refused_or_safe_in_a_url_and_a_path(text: str) -> None:
    try:
        parsed = reference.parse(text)
    except InvalidArgument:
        return
    assert re.fullmatch(r"[A-Za-z0-9._:\[\]-]+(/[a-z0-9._-]+)+", parsed.name)
    assert ".." not in parsed.path.split("/")
    assert reference.parse(str(parsed)) == parsed


@given(st.text(max_size=100) | st.none() | st.integers())
def test_only_a_sha256_in_lower_case_hex_becomes_a_digest(value: object) -> None:
    with pytest.raises(InvalidArgument):
        digests.parse(value)


def test_chain_ids_follow_the_image_specification() -> None:
    one, two = digests.of(b"1"), digests.of(b"2")
    assert digests.chain_ids([one, two]) == [one, digests.of(f"{one} {two}".encode())]
