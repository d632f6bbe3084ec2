# SPDX-License-Identifier: Apache-2.0
"""Our HTTP/1.1 server: routes to async functions, streams both ways, hijacked connections."""

from hypercell.api.http.channel import Peer
from hypercell.api.http.limits import Limits
from hypercell.api.http.messages import (
    Handler,
    Headers,
    Hijack,
    Query,
    RawStream,
    Reply,
    Request,
    Response,
    StreamResponse,
    Version,
    encode,
    json_response,
)
from hypercell.api.http.routing import UNLIMITED, Route, Router, split_version
from hypercell.api.http.server import Server

__all__ = [
    "UNLIMITED",
    "Handler",
    "Headers",
    "Hijack",
    "Limits",
    "Peer",
    "Query",
    "RawStream",
    "Reply",
    "Request",
    "Response",
    "Route",
    "Router",
    "Server",
    "StreamResponse",
    "Version",
    "encode",
    "json_response",
    "split_version",
]
