# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercell.base.config import Config, Registry
from hypercell.base.errors import InvalidArgument, Unauthorized
from hypercell.images.contract import Credentials
from hypercell.images.registry import auth
from hypercell.images.registry.auth import Challenge
from hypercell.images.registry.endpoints import endpoints, is_loopback


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (
            'Bearer realm="https://a.test/token",service="s",scope="repository:x:pull,push"',
            [("bearer", {"realm": "https://a.test/token", "service": "s", "scope": "repository:x:pull,push"})],
        ),
        ('Basic realm="a, b"', [("basic", {"realm": "a, b"})]),
        ('Basic realm="x", Bearer realm="y"', [("basic", {"realm": "x"}), ("bearer", {"realm": "y"})]),
        ("bearer REALM=x", [("bearer", {"realm": "x"})]),
        (r'Bearer realm="a\"b"', [("bearer", {"realm": 'a"b'})]),
        ('Bearer realm="x",realm="y"', [("bearer", {"realm": "x"})]),
        ("Negotiate, Basic realm=x", [("negotiate", {}), ("basic", {"realm": "x"})]),
        ('realm="x"', []),
        ("", []),
    ],
)
def test_challenges_are_read_as_the_http_specification_says(
    header: str, expected: list[tuple[str, dict[str, str]]]
) -> None:
    assert [(item.scheme, item.parameters) for item in auth.parse_challenges(header)] == expected


@given(st.text(alphabet='aBz09 =,"\\\t-', max_size=60))
def test_no_challenge_keeps_the_parser_from_ending(header: str) -> None:
    assert len(auth.parse_challenges(header)) <= len(header)


def test_bearer_goes_before_basic() -> None:
    chosen = auth.choose('Basic realm="x",Bearer realm="y"')
    assert chosen is not None
    assert chosen.scheme == "bearer"


@pytest.mark.parametrize(
    "realm", ["", "x", "file:///etc/passwd", "//a.test/t", "https://u:p@a.test/t", "http://a.test/t"]
)
def test_credentials_are_not_sent_to_what_is_no_url_or_not_safe(realm: str) -> None:
    with pytest.raises(Unauthorized):
        auth.token_request(Challenge("bearer", {"realm": realm}), "s", Credentials("me", "secret"), plain=False)


def test_a_password_is_sent_to_a_plain_token_server_only_for_a_plain_registry() -> None:
    challenge = Challenge("bearer", {"realm": "http://a.test/t"})
    request = auth.token_request(challenge, "repository:x:pull", Credentials("me", "secret"), plain=True)
    assert request.authorization == "Basic bWU6c2VjcmV0"
    assert ("scope", "repository:x:pull") in request.query


@pytest.mark.parametrize(("seconds", "lifetime"), [("300", 270), ("-1", 54), ("1e9", 54), ('"x"', 54), ("null", 54)])
def test_a_token_is_renewed_before_it_runs_out(seconds: str, lifetime: float) -> None:
    token = auth.parse_token(f'{{"token":"t","expires_in":{seconds}}}'.encode(), now=lambda: 1000.0)
    assert token.expires == 1000 + lifetime


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True), ("LOCALHOST:5000", True), ("127.0.0.1", True), ("127.9.9.9:1", True), ("[::1]:5000", True),
        ("localhost.evil.test", False), ("127.0.0.1.evil.test", False), ("10.0.0.1", False), ("[::2]", False),
        ("2130706433", False), ("", False), ("[::1", True),
    ],
)  # fmt: skip
def test_loopback_is_what_cannot_be_another_machine(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_mirrors_come_first_and_never_see_credentials() -> None:
    config = Config(registries=(Registry("a.test", mirrors=("http://m.test:5000", "n.test", "localhost:1")),))
    found = endpoints(config, "a.test")
    assert [entry.url for entry in found] == [
        "http://m.test:5000", "https://n.test", "https://localhost:1", "https://a.test",
    ]  # fmt: skip
    assert [entry.trusted for entry in found] == [False, False, False, True]
    assert [entry.plain_fallback for entry in found] == ["", "", "http://localhost:1", ""]


@pytest.mark.parametrize("mirror", ["", "ftp://x.test", "http://", "x.test/path", "http://u@x.test", "://x", "a b"])
def test_a_mirror_that_is_no_host_is_refused(mirror: str) -> None:
    with pytest.raises(InvalidArgument, match="mirror"):
        endpoints(Config(registries=(Registry("a.test", mirrors=(mirror,)),)), "a.test")
