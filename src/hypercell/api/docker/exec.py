# SPDX-License-Identifier: Apache-2.0
"""Execs: `/containers/{id}/exec` and `/exec/{id}/…`."""

from __future__ import annotations

import base64

from hypercell.api.docker.attach import Wires, pump
from hypercell.api.docker.detach import parse_keys
from hypercell.api.docker.documents import Fields
from hypercell.api.docker.engine import Call
from hypercell.api.docker.errors import message
from hypercell.api.docker.framing import frame, media_type
from hypercell.api.docker.query import json_fields, window
from hypercell.api.http import Hijack, RawStream, Reply, Response, json_response
from hypercell.base.errors import ExecFailed, InvalidArgument
from hypercell.cloud.contract import Attachment, ExecRequest, Output


async def create_exec(call: Call) -> Response:
    engine = call.app
    fields = await json_fields(call)
    request = _parse(fields, call.version)
    exec_id = await engine.containers.exec_create(engine.tenant, call.params["name"], request)
    return json_response({"Id": exec_id}, 201)


def _parse(fields: Fields, version: tuple[int, ...]) -> ExecRequest:
    args = fields.words("Cmd")
    if not args:
        raise InvalidArgument("No exec command specified")
    keys = fields.text("DetachKeys", limit=256)
    parse_keys(keys)
    env = fields.texts("Env", size=128 * 1024) or ()
    for entry in env:
        if not entry.partition("=")[0]:
            raise InvalidArgument(f"invalid environment variable: {entry[:100]}")
    console = _console_size(fields)
    directory = fields.text("WorkingDir")
    if directory and not directory.startswith("/"):
        raise InvalidArgument(f"the working directory '{directory[:200]}' is invalid, it needs to be an absolute path")
    request = ExecRequest(
        args=args,
        env=env,
        working_dir=directory,
        user=fields.text("User", limit=256),
        tty=fields.flag("Tty"),
        attach_stdin=fields.flag("AttachStdin"),
        attach_stdout=fields.flag("AttachStdout"),
        attach_stderr=fields.flag("AttachStderr"),
        privileged=fields.flag("Privileged"),
        console_size=console if version >= (1, 42) else None,
        detach_keys=keys,
    )
    # docker-py and the CLI say "Container" and "Detach" here; both are said again where they count.
    for name in ("Container", "Detach"):
        fields.take(name)
    fields.finish()
    return request


def _console_size(fields: Fields) -> tuple[int, int] | None:
    size = fields.items("ConsoleSize", limit=2)
    if not size:
        return None
    if len(size) != 2 or not all(type(value) is int and 0 <= value < 65536 for value in size):
        raise InvalidArgument(f"{fields.name('ConsoleSize')}: must be [rows, columns]")
    return (size[0], size[1]) if size[0] and size[1] else None


async def start_exec(call: Call) -> Reply:
    engine = call.app
    fields = await json_fields(call)
    detach, tty = fields.flag("Detach"), fields.flag("Tty")
    console = _console_size(fields) if tty else None
    fields.take("ConsoleSize")  # without a terminal it has none
    fields.finish()
    exec_id = call.params["name"]
    view = await engine.containers.exec_inspect(engine.tenant, exec_id)
    failure: ExecFailed | None = None
    attachment: Attachment | None = None
    try:
        attachment = await engine.containers.exec_start(engine.tenant, exec_id, detach, console)
    except ExecFailed as error:
        if detach:
            raise
        failure = error
    if detach:
        return Response(200)
    request = view.request
    keys = parse_keys(request.detach_keys) if request.tty else b""
    wires = Wires(request.attach_stdin, request.attach_stdout, request.attach_stderr, not tty, keys)

    async def ends_with_input() -> bool:
        return request.tty

    async def run(stream: RawStream) -> None:
        if attachment is not None:
            await pump(stream, attachment, wires, ends_with_input)
        elif failure is not None:
            # The client learns the exit code (126, 127) from an inspection and shows what stands here.
            text = f"{message(failure)}\r\n".encode()
            await stream.write(text if tty else frame(Output.STDOUT, text))

    return Hijack(run, media_type(tty, call.version, call.header("upgrade") != ""))


async def resize_exec(call: Call) -> Response:
    engine = call.app
    rows, columns = window(call.query)
    await engine.containers.exec_resize(engine.tenant, call.params["name"], rows, columns)
    return Response(200)


async def inspect_exec(call: Call) -> Response:
    engine = call.app
    view = await engine.containers.exec_inspect(engine.tenant, call.params["name"])
    request = view.request
    process = {
        "tty": request.tty,
        "entrypoint": request.args[0],
        "arguments": list(request.args[1:]),
        "privileged": request.privileged,
    }
    if request.user:
        process["user"] = request.user
    keys = base64.b64encode(parse_keys(request.detach_keys)).decode() if request.detach_keys else ""
    return json_response(
        {
            "ID": view.id,
            "Running": view.running,
            "ExitCode": view.exit_code,
            "ProcessConfig": process,
            "OpenStdin": request.attach_stdin,
            "OpenStderr": request.attach_stderr,
            "OpenStdout": request.attach_stdout,
            "CanRemove": False,
            "ContainerID": view.container_id,
            "DetachKeys": keys,
            "Pid": view.pid,
        }
    )
