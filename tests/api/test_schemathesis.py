# SPDX-License-Identifier: Apache-2.0
"""schemathesis at a live daemon: requests that are as the OpenAPI document says, and requests that are not.

Whatever comes, the answer is in the document, and no error of the server's. Of schemathesis' checks these apply not:
what is well-formed may still be refused (most rules of docker's are between members), query flags take any text, and
dockerd answers 404, not 405, to methods that a path has not.
"""

from __future__ import annotations

import contextlib
import http.server
import itertools
import socket
import string
import threading
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import requests
import schemathesis
from requests.adapters import HTTPAdapter
from schemathesis import Case, GenerationMode, Response
from schemathesis import checks as standard
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

from hypercell.api.native import ROUTES as NATIVE
from hypercell.api.openapi import document
from tests.support.daemon import Daemon, running

from .door import IMAGE, root_tar

EXAMPLES = 8
IMPORT = "http://docker/images/create?fromSrc=-&repo=fake&tag=test"
RUNNING, STOPPED = "fuzzrunning", "fuzzstopped"
OF_REGISTRIES = ("/auth", "/distribution/", "/images/search", "/images/create", "/images/{name}/push")
"""What a registry says, or fails to say, may be told as an error of the server's, as dockerd does."""

SCHEMA = schemathesis.openapi.from_dict(document(NATIVE))
OPERATIONS = {
    operation.label: operation
    for operation in (result.ok() for result in SCHEMA.get_all_operations())
    if operation.tags not in (["unbuilt"], ["swarm"])  # one answer to everything, which is an error of the server's
}
SETTINGS = hypothesis.settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[hypothesis.Phase.generate],
    suppress_health_check=list(hypothesis.HealthCheck),
)


class UnixConnection(HTTPConnection):
    path = ""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(self.path)


class UnixAdapter(HTTPAdapter):
    """A session's way to a UNIX socket."""

    def __init__(self, path: str) -> None:
        super().__init__()
        connection = type("Connection", (UnixConnection,), {"path": path})
        self._pool = type("Pool", (HTTPConnectionPool,), {"ConnectionCls": connection})("docker", maxsize=1)

    def get_connection_with_tls_context(self, *_: Any, **__: Any) -> HTTPConnectionPool:
        return self._pool


class Target:
    """A daemon with an image, a container that runs and one that does not, however many of them are fuzzed away."""

    def __init__(self, door: Daemon, registry: str) -> None:
        self.door = door
        self._registry = registry
        self._turn = itertools.count()
        self.session = requests.Session()
        self.session.mount("http://", UnixAdapter(str(door.socket)))

    def prepare(self) -> None:
        call = self.door.call
        if call("GET", f"/images/{IMAGE}/json")[0] == 404:
            answer = self.session.post(f"{IMPORT}&changes=CMD%20cat", root_tar())
            assert answer.status_code == 200
        for name in (RUNNING, STOPPED):
            if call("GET", f"/containers/{name}/json")[0] == 404:
                body = {"Image": IMAGE, "Cmd": ["cat"], "Tty": True, "OpenStdin": True}
                assert call("POST", f"/containers/create?name={name}", body)[0] == 201
        call("POST", f"/containers/{STOPPED}/stop?t=0")
        if call("GET", f"/containers/{RUNNING}/json")[1]["State"]["Status"] != "running":
            call("POST", f"/containers/{RUNNING}/unpause")
            assert call("POST", f"/containers/{RUNNING}/start")[0] in (204, 304)

    def tidy(self, response: Response) -> None:
        """Take away the container that was just made."""
        if response.status_code == 201 and "Warnings" in response.json():
            self.door.call("DELETE", f"/containers/{response.json()['Id']}?force=1")

    def steer(self, case: Case) -> None:
        """Have every other request meet something that is there, and none wait for what does not happen."""
        if "name" in case.path_parameters:
            given = str(case.path_parameters["name"])
            # Ids are random, and must not begin with what was generated on one day and not on the next.
            missing = f"no{given}" if set(given) <= set(string.hexdigits) else given
            case.path_parameters["name"] = self._there(case.operation.path) if next(self._turn) % 2 else missing
        query, path = case.query, case.operation.path
        if isinstance(case.body, dict) and path == "/containers/create" and next(self._turn) % 4:
            # Of some fifty members one is always wrong: with a few of them there is a container now and then.
            case.body = self._few(case.body) | {"Image": IMAGE}
            case.query.clear()
            if isinstance(host := case.body.get("HostConfig"), dict):
                case.body["HostConfig"] = self._few(host)
        if path.startswith(OF_REGISTRIES):
            self._to_our_registry(case)
        never_ends = {"/events": {"until": "1"}, "logs": {"follow": "0"}, "stats": {"stream": "0"}}
        never_ends |= {"attach": {"stream": "0"}, "stop": {"t": "0"}, "restart": {"t": "0"}, "wait": {"condition": ""}}
        for end, values in never_ends.items():
            if path.endswith(end):
                query.update(values)

    def _few(self, members: dict[str, Any]) -> dict[str, Any]:
        return {name: members[name] for name in sorted(members)[next(self._turn) % 6 :: 6]}

    def _to_our_registry(self, case: Case) -> None:
        name = f"{self._registry}/fuzz:test"
        if "name" in case.path_parameters:
            case.path_parameters["name"] = name
        case.query.update({key: name for key in ("fromImage", "term") if key in case.query})
        if isinstance(case.body, dict):
            case.body["serveraddress"] = self._registry

    def _there(self, path: str) -> str:
        if path.startswith("/images"):
            return IMAGE
        if path.startswith("/networks"):
            return "bridge"
        if path.startswith("/volumes"):
            assert self.door.call("POST", "/volumes/create", {"Name": "fuzzed"})[0] == 201
            return "fuzzed"
        if path.startswith("/exec"):
            made = self.door.call("POST", f"/containers/{RUNNING}/exec", {"Cmd": ["true"]})
            return made[1]["Id"]
        return STOPPED if path.endswith("wait") or next(self._turn) % 4 == 0 else RUNNING


class Refusing(http.server.BaseHTTPRequestHandler):
    """A registry that has nothing."""

    def do_GET(self) -> None:
        self.send_error(404)

    do_HEAD = do_POST = do_PUT = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as registry:
        threading.Thread(target=registry.serve_forever, daemon=True).start()
        host = f"127.0.0.1:{registry.server_port}"
        registries = [{"host": host, "plain_http": True}]
        with running(tmp_path_factory.mktemp("fuzz") / "d", driver="fake", registries=registries) as daemon:
            yield Target(daemon, host)
        registry.shutdown()


def no_server_error(context: schemathesis.CheckContext, response: Response, case: Case) -> None:
    if case.operation.path.startswith(OF_REGISTRIES):
        assert response.status_code not in (502, 504)
    else:
        assert response.status_code < 500 or response.status_code == 501, response.text


def described_content(context: schemathesis.CheckContext, response: Response, case: Case) -> None:
    if response.content:  # an exec that is detached answers with nothing
        standard.content_type_conformance(context, response, case)


CHECKS = [
    no_server_error,
    standard.status_code_conformance,
    described_content,
    standard.response_headers_conformance,
    standard.response_schema_conformance,
]


@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize("label", OPERATIONS)
def test_whatever_is_asked_the_answer_is_described(target: Target, label: str, mode: GenerationMode) -> None:
    @SETTINGS
    @hypothesis.given(case=OPERATIONS[label].as_strategy(generation_mode=mode))
    def ask(case: Case) -> None:
        target.prepare()
        target.steer(case)
        response = case.call(base_url="http://docker", session=target.session, timeout=20, allow_redirects=False)
        case.validate_response(response, checks=CHECKS)
        target.tidy(response)

    with contextlib.suppress(hypothesis.errors.Unsatisfiable):  # what takes nothing cannot be given anything wrong
        ask()


def test_the_daemon_has_come_through(target: Target) -> None:
    assert target.door.call("GET", "/_ping")[0] == 200
    assert "Traceback" not in target.door.log.read_text()
