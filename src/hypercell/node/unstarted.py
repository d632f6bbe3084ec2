# SPDX-License-Identifier: Apache-2.0
"""Why a process did not start, in words in which clients look for docker's phrases (127: missing, 126: denied).

What is at fault is the program, the directory in which it was to start, or the user as whom: each with advice of its
own.
"""

from __future__ import annotations

from hypercell.base.errors import ExecFailed, InvalidArgument

_DIRECTORY = "chdir to cwd ("
"""How the guest begins to tell that the working directory cannot be entered."""
_DIRECTORY_HINT = "choose a working directory that the container has and its user may enter"
_LONGEST = 400


def failed_exec(error: ExecFailed | InvalidArgument) -> ExecFailed:
    """Of an exec. What the guest finds invalid in one, such as a user that the container does not know, keeps it from
    being run, as a program that is no executable does."""
    if isinstance(error, InvalidArgument):
        return ExecFailed(error.message, 126, error.hint)
    return _directory(error) or error


def failed_start(error: ExecFailed, args: list[str]) -> ExecFailed:
    """Of a container's own program, *args*."""
    told = _directory(error) or ExecFailed(f"exec: {_program(error.exit_code, args)}", error.exit_code, error.hint)
    told.message = f"unable to start container process: {told.message}"
    return told


def _program(code: int, args: list[str]) -> str:
    program = _printable(args[0][:200]) if args else ""
    if code != 127:
        words = "permission denied"
    elif "/" in program:
        words = f"stat {program}: no such file or directory"
    else:
        words = "executable file not found in $PATH"
    return f'"{program}": {words}'


def _directory(error: ExecFailed) -> ExecFailed | None:
    """None where it is not the working directory that is at fault."""
    if not error.message.startswith(_DIRECTORY):
        return None
    what, failed, why = _printable(error.message[:_LONGEST]).rpartition("failed: ")
    return ExecFailed(f"{what}{failed}{why[:1].lower()}{why[1:]}", error.exit_code, _DIRECTORY_HINT)


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)
