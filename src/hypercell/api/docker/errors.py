# SPDX-License-Identifier: Apache-2.0
"""The house's errors in dockerd's words: status and `{"message": …}`."""

from __future__ import annotations

from typing import Any

from hypercell.api.docker.version import OLDEST
from hypercell.api.http import Request, Response, json_response
from hypercell.base.errors import ExecFailed, HypercellError, NoSpace, NotModified, Unavailable

# The docker CLI tells exit codes 126 and 127 from 125 by these words in a failed start's message.
_EXEC_WORDS = {
    127: ("executable file not found", "no such file or directory"),
    126: ("permission denied", "is a directory"),
}
_EXEC_SUFFIX = {127: "executable file not found in $PATH", 126: "permission denied"}
# How a message that blames the program begins. A user or a working directory that is not there is another matter.
_OF_A_PROGRAM = ("exec", "unable to start container process: exec")


def message(error: HypercellError) -> str:
    """What a client is shown: the message, and the hint behind it (a sentence of its own if it begins like one)."""
    text = f"{error.message}. {error.hint}" if error.hint[:1].isupper() else str(error)
    if isinstance(error, ExecFailed) and error.message.startswith(_OF_A_PROGRAM):
        words = _EXEC_WORDS.get(error.exit_code, ())
        if words and not any(word in text for word in words):
            text = f"{text}: {_EXEC_SUFFIX[error.exit_code]}"
    return text


def explain(request: Request[Any] | None, error: HypercellError) -> Response:
    """The answer to a request that failed. 304 has no body; clients older than the oldest API get plain text, which
    is what they can show."""
    if isinstance(error, NotModified):
        return Response(304)
    # 507 is WebDAV's; docker answers a full disk with 500.
    status = 500 if isinstance(error, NoSpace) else error.status
    later = (("Retry-After", str(error.retry_after)),) if isinstance(error, Unavailable) and error.retry_after else ()
    if request is not None and request.version and request.version < OLDEST:
        return Response(status, f"{message(error)}\n".encode(), "text/plain; charset=utf-8", later)
    return json_response({"message": message(error)}, status, later)
