# SPDX-License-Identifier: Apache-2.0
"""The errors of the whole house, typed once.

Every error that a user can cause or must act on is one of these. A door translates it into its own words by
`status` (HTTP for the Engine API) or by its class; nothing below a door knows about HTTP bodies or gRPC codes.
"""

from __future__ import annotations


class HypercellError(Exception):
    """Base of all. `message` says what is wrong, `hint` what to do next (may be empty)."""

    status = 500

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}: {self.hint}" if self.hint else self.message


class InvalidArgument(HypercellError):
    """The request itself is wrong, whatever the state of the system."""

    status = 400


class Unauthorized(HypercellError):
    """Credentials are missing or wrong (also what a registry answers)."""

    status = 401


class Forbidden(HypercellError):
    """Known who you are; not allowed."""

    status = 403


class NotFound(HypercellError):
    """No such container, image, network, file …"""

    status = 404


class Conflict(HypercellError):
    """The name is taken, or the thing is in a state that does not permit this."""

    status = 409


class NotModified(HypercellError):
    """Already so (docker answers 304 to start of a running container)."""

    status = 304


class Unsupported(HypercellError):
    """Not built, or this machine or backend cannot do it. Never a quiet success."""

    status = 501


class Unavailable(HypercellError):
    """Try again later: overload, a peer that does not answer, shutting down. `retry_after`: in how many seconds it may
    be worth it; 0 when nobody knows."""

    status = 503

    def __init__(self, message: str, hint: str = "", retry_after: int = 0) -> None:
        super().__init__(message, hint)
        self.retry_after = retry_after


class NoSpace(HypercellError):
    """A disk, or a quota of bytes, is full."""

    status = 507


class Internal(HypercellError):
    """A bug of ours, or a machine that breaks its promises."""

    status = 500


class VmFailed(HypercellError):
    """A VM could not be started, or ended by itself. `reason` tells the kinds apart:

    `boot-failed` (never greeted), `hypervisor-failed` (could not be spawned, or refused its command line),
    `hypervisor-killed` (ended by a signal), `guest-panic`, `guest-reset`, `agent-lost` (runs, but does not answer).
    """

    status = 500

    def __init__(self, message: str, reason: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.reason = reason


class ExecFailed(HypercellError):
    """A program could not be run in a container. `exit_code` is 126 (not executable) or 127 (not found)."""

    status = 400

    def __init__(self, message: str, exit_code: int, hint: str = "") -> None:
        super().__init__(message, hint)
        self.exit_code = exit_code
