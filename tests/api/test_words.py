# SPDX-License-Identifier: Apache-2.0
"""docker's small languages: times, filters, patterns, detach keys, frames, references, modes."""

from __future__ import annotations

import base64
import bz2
import contextlib
import gzip
import json
import lzma
import stat
import time
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercell.api.daemon_log import escape
from hypercell.api.docker.archive import go_mode
from hypercell.api.docker.credentials import parse_credentials
from hypercell.api.docker.decompress import decompressed
from hypercell.api.docker.detach import DEFAULT_KEYS, KeyFilter, parse_keys
from hypercell.api.docker.errors import message
from hypercell.api.docker.filters import Filters
from hypercell.api.docker.framing import MULTIPLEXED, RAW, frame, media_type
from hypercell.api.docker.image_list import reference_pattern
from hypercell.api.docker.patterns import Pattern
from hypercell.api.docker.ps_columns import clock
from hypercell.api.docker.pull import pull_reference
from hypercell.api.docker.times import human_duration, parse_timestamp, rfc3339, rfc3339_fixed
from hypercell.api.http import split_version
from hypercell.base.durations import parse_duration, show_duration
from hypercell.base.errors import ExecFailed, InvalidArgument
from hypercell.images.contract import Credentials

SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [("1h30m", 5400 * SECOND), ("1.5s", 1_500_000_000), ("-2ms", -2_000_000), ("0", 0), (".5s", SECOND // 2)],
)
def test_go_durations_are_understood(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0s"),
        (7, "7ns"),
        (1_500, "1.5µs"),
        (20_000_000, "20ms"),
        (1_500_000_000, "1.5s"),
        (30 * SECOND, "30s"),
        (90 * SECOND, "1m30s"),
        (3600 * SECOND + 1, "1h0m0.000000001s"),
    ],
)
def test_durations_are_shown_as_go_prints_them(nanoseconds: int, text: str) -> None:
    assert show_duration(nanoseconds) == text
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize("text", ["", "1", "s", ".s", "1h-2m", "1d", "9" * 30 + "h", "1 h", "٣s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1136073600", 1136073600 * SECOND),
        ("1136073600.000000001", 1136073600 * SECOND + 1),
        ("1136073600.5", 1136073600 * SECOND + SECOND // 2),
        ("2006-01-01T00:00:00Z", 1136073600 * SECOND),
        ("2006-01-01T01:00:00.25+01:00", 1136073600 * SECOND + SECOND // 4),
        ("2006-01-01Z", 1136073600 * SECOND),
        ("10s", 90 * SECOND),
    ],
)
def test_times_are_understood_in_every_spelling(text: str, expected: int) -> None:
    assert parse_timestamp(text, "since", now_ns=100 * SECOND) == expected


@pytest.mark.parametrize("text", ["yesterday", "2006-13-01", "2006-01-01T25:00:00Z", "1e9", "1.2.3", "-" * 50])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="since"):
        parse_timestamp(text, "since")


def test_times_are_written_as_go_writes_them() -> None:
    assert rfc3339(0) == "0001-01-01T00:00:00Z"
    assert rfc3339(1136073600 * SECOND) == "2006-01-01T00:00:00Z"
    assert rfc3339(1136073600 * SECOND + 120_000_000) == "2006-01-01T00:00:00.12Z"
    assert rfc3339_fixed(1136073600 * SECOND + 1) == "2006-01-01T00:00:00.000000001Z"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.5, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (600, "10 minutes"),
        (3600, "About an hour"),
        (7200, "2 hours"),
        (86400 * 3, "3 days"),
        (86400 * 20, "2 weeks"),
        (86400 * 100, "3 months"),
        (86400 * 800, "2 years"),
    ],
)
def test_durations_are_told_in_dockers_words(seconds: float, words: str) -> None:
    assert human_duration(int(seconds * SECOND)) == words


def test_filters_in_both_forms() -> None:
    for text in ('{"label":{"a=b":true,"c":true}}', '{"label":["a=b","c"]}'):
        filters = Filters.parse(text, frozenset(["label"]))
        assert filters.labels({"a": "b", "c": ""})
        assert not filters.labels({"a": "x", "c": ""})
        assert not filters.labels({"a": "b"})


@pytest.mark.parametrize(
    "text", ["[]", '{"x":{}}', '{"label":1}', '{"label":{"a":1}}', '{"label":[1]}', "{", '{"label":{},"label":{}}']
)
def test_malformed_filters_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        Filters.parse(text, frozenset(["label"]))


def test_filters_match_names_as_patterns_and_ids_as_prefixes() -> None:
    filters = Filters.parse('{"name":["^we.$","x+"],"id":["abc"]}', frozenset(["name", "id"]))
    assert filters.matches("name", "web")
    assert filters.matches("name", "foxx")
    assert not filters.matches("name", "webs")
    assert filters.prefixed("id", "abcdef")
    assert not filters.prefixed("id", "xabc")
    assert filters.exact("other", "anything")


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("a.c", "xabcx", True),
        ("^a", "ba", False),
        ("a$", "ab", False),
        ("^$", "", True),
        ("^(foo|ba[rz])+$", "foobarbaz", True),
        ("[^a-c]", "abc", False),
        (r"\d{2,3}$", "a12", True),
        (r"^\d{2,3}$", "1", False),
        (r"^\d{2}$", "123", False),
        (r"a\.b", "axb", False),
        (r"^\w+-\w*$", "web-", True),
        ("(?:a|b)?c", "c", True),
        ("^a{0}b$", "b", True),
        ("[]x]", "]", True),
        ("[a-]", "-", True),
        ("a*?b", "aab", True),
        ("^a{2,}$", "a", False),
        ("^a{2,}$", "aaaa", True),
    ],
)
def test_patterns_match_as_regular_expressions_do(pattern: str, text: str, found: bool) -> None:
    assert Pattern(pattern).search(text) is found


@pytest.mark.parametrize("pattern", ["(", ")", "*", "a{", "a{2,1}", "[", "[b-a]", "\\", r"\q", "a" * 300, "a{1000}"])
def test_malformed_patterns_are_refused(pattern: str) -> None:
    with pytest.raises(ValueError):
        Pattern(pattern)


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)*$", "(a*)*b", "((a?){50}){50}b", "(x+x+)+y"])
def test_patterns_that_keep_a_backtracker_busy_for_years_end_at_once(pattern: str) -> None:
    began = time.process_time()
    with contextlib.suppress(ValueError):  # too complex: said so
        Pattern(pattern).search("a" * 200 + "!")
    assert time.process_time() - began < 5


@given(st.text("ab.^$|()*+?{}[]\\1,", max_size=20), st.text("ab1", max_size=10))
def test_no_pattern_does_anything_but_match_or_raise(pattern: str, text: str) -> None:
    with contextlib.suppress(ValueError):
        Pattern(pattern).search(text)


@pytest.mark.parametrize(
    ("glob", "name", "found"),
    [
        ("busy*", "busybox", True),
        ("*", "a/b", False),
        ("a/*", "a/b", True),
        ("b?sy", "busy", True),
        ("x.y", "xay", False),
    ],
)
def test_reference_globs_stop_at_slashes(glob: str, name: str, found: bool) -> None:
    assert reference_pattern(glob).search(name) is found


def test_detach_keys_are_parsed() -> None:
    assert parse_keys("") == DEFAULT_KEYS == b"\x10\x11"
    assert parse_keys("ctrl-a,x,ctrl-[,DEL") == b"\x01x\x1b\x7f"
    for wrong in ("ctrl-", "ctrl-1", "abc", "é", ",", "a," * 40 + "a"):
        with pytest.raises(InvalidArgument, match="Invalid detach keys"):
            parse_keys(wrong)


def test_detach_keys_are_noticed_and_nothing_else_is_lost() -> None:
    keys = KeyFilter(b"\x10\x11")
    assert keys.feed(b"ab\x10") == b"ab"
    assert keys.feed(b"c") == b"\x10c"
    assert keys.feed(b"\x10\x10") == b"\x10"
    assert not keys.detached
    assert keys.feed(b"\x11never") == b""
    assert keys.detached


@given(st.lists(st.binary(max_size=5)), st.binary(min_size=1, max_size=4))
def test_detach_keys_are_noticed_however_input_is_cut(pieces: list[bytes], keys: bytes) -> None:
    whole, found = b"".join(pieces), KeyFilter(keys)
    passed = b"".join(found.feed(piece) for piece in pieces)
    position = whole.find(keys)
    assert found.detached == (position >= 0)
    if position >= 0:
        assert passed == whole[:position]
    else:
        assert whole.startswith(passed)
        assert keys.startswith(whole[len(passed) :])


def test_frames_and_media_types() -> None:
    assert frame(2, b"err") == b"\x02\0\0\0\0\0\0\x03err"
    assert media_type(False, (1, 42)) == MULTIPLEXED
    assert media_type(False, (1, 41)) == RAW
    assert media_type(True, (1, 51)) == RAW
    assert media_type(False, (1, 51), upgraded=False) == RAW


@pytest.mark.parametrize(
    ("mode", "go"),
    [
        (stat.S_IFREG | 0o644, 0o644),
        (stat.S_IFDIR | stat.S_ISVTX | 0o777, 1 << 31 | 1 << 20 | 0o777),
        (stat.S_IFLNK | 0o777, 1 << 27 | 0o777),
        (stat.S_IFREG | stat.S_ISUID | 0o755, 1 << 23 | 0o755),
        (stat.S_IFCHR | 0o600, 1 << 26 | 1 << 21 | 0o600),
    ],
)
def test_modes_become_gos(mode: int, go: int) -> None:
    assert go_mode(mode) == go


async def _chunks(data: bytes, size: int) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("size", [1, 7, 100_000])
async def test_archives_are_decompressed_by_their_first_bytes(compress, size: int) -> None:
    plain = b"hello world" * 1000
    data = compress(plain[:50]) + (compress(plain[50:]) if compress is not bytes else plain[50:])
    assert b"".join([chunk async for chunk in decompressed(_chunks(data, size))]) == plain


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
async def test_a_cut_or_broken_archive_is_refused(compress) -> None:
    data = compress(b"hello" * 1000)
    for broken in (data[:-5], data[:12] + bytes(20) + data[30:]):
        with pytest.raises(InvalidArgument):
            _ = [chunk async for chunk in decompressed(_chunks(broken, 10))]


async def test_a_bomb_comes_in_bounded_pieces() -> None:
    bomb = gzip.compress(bytes(64 << 20), 9)
    sizes = [len(chunk) async for chunk in decompressed(_chunks(bomb, 1 << 20))]
    assert sum(sizes) == 64 << 20
    assert max(sizes) <= 256 * 1024


@pytest.mark.parametrize(
    ("name", "tag", "expected"),
    [
        ("busybox", "latest", "busybox:latest"),
        ("localhost:5000/a/b", "1", "localhost:5000/a/b:1"),
        ("busybox:2", "", "busybox:2"),
        ("busybox", "sha256:" + "a" * 64, "busybox@sha256:" + "a" * 64),
    ],
)
def test_names_to_pull(name: str, tag: str, expected: str) -> None:
    assert pull_reference(name, tag).familiar == expected


def test_all_tags_are_not_taken_for_the_latest() -> None:
    for name in ("busybox", "busybox:"):
        wanted = pull_reference(name, "")
        assert (wanted.familiar, wanted.tag, wanted.digest) == ("busybox", "", None)


def test_credentials_are_taken_from_the_header() -> None:
    def header(document: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")

    assert parse_credentials("") is None
    assert parse_credentials(header({})) is None
    assert parse_credentials(header({"username": "u", "password": "p"})) == Credentials("u", "p")
    packed = base64.b64encode(b"u:p:q").decode()
    assert parse_credentials(header({"auth": packed})) == Credentials("u", "p:q")
    assert parse_credentials(header({"identitytoken": "t"})) == Credentials(identity_token="t")
    for wrong in ("%%%", header([]), header({"username": 1}), header("x")):
        with pytest.raises(InvalidArgument, match="X-Registry-Auth"):
            parse_credentials(wrong)


def test_versions_are_split_off_paths() -> None:
    assert split_version("/v1.41/containers/json") == ((1, 41), "/containers/json")
    assert split_version("/_ping") == ((), "/_ping")
    assert split_version("/v1.41") == ((), "/v1.41")
    assert split_version("/version") == ((), "/version")


def test_a_failed_start_says_the_words_that_tell_exit_codes_apart() -> None:
    assert "executable file not found" in message(ExecFailed("exec: x", 127))
    assert "permission denied" in message(ExecFailed("exec: x", 126))
    assert message(ExecFailed("x: no such file or directory", 127)).count("not found") == 0


@pytest.mark.parametrize("code", [126, 127])
@pytest.mark.parametrize(
    "text",
    [
        "unable to find user exec: no matching entries in passwd file",
        'unable to start container process: chdir to cwd ("/etc/passwd/x") failed: not a directory',
    ],
)
def test_a_user_or_a_directory_that_is_not_there_is_not_blamed_on_the_program(text: str, code: int) -> None:
    assert message(ExecFailed(text, code)) == text


def test_times_of_processes_are_written_as_ps_does() -> None:
    assert clock(0) == "00:00:00"
    assert clock(86400 * 2 + 3661) == "2-01:01:01"


def test_a_log_line_stays_one_line() -> None:
    assert escape("plain ünïcode") == "plain ünïcode"
    assert escape("a\nb\x1b[31m\u2028") == "a\\nb\\u001b[31m\\u2028"
