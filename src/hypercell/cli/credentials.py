# SPDX-License-Identifier: Apache-2.0
"""Credentials for registries, where docker's client keeps them: `config.json` in `~/.docker` or `$DOCKER_CONFIG`, or a
credential helper that it names. Who has logged in with one client is known to the other."""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import click

from hypercell.cli.output import warn

_DEFAULT = "docker.io"
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NOBODY = "<token>"
"""What helpers call the user of an identity token."""
Auth = dict[str, str]
"""docker's `AuthConfig`: `username`, `password`, `identitytoken`, `registrytoken`, `serveraddress`."""


def header(image: str) -> dict[str, str]:
    """What to send with a request that has the registry of *image* asked: its credentials, and nobody else's."""
    try:
        auth = find(registry_of(image))
    except click.ClickException as error:
        warn(f"WARNING: {error.message}")
        return {}
    return {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(auth).encode()).decode()} if auth else {}


def registry_of(image: str) -> str:
    """The registry in a name: its first component, if that looks like a host."""
    first, slash, _ = image.partition("/")
    is_host = slash and (any(sign in first for sign in ".:[") or first == "localhost" or first.lower() != first)
    return first if is_host else _DEFAULT


def key_of(registry: str) -> str:
    """Under what docker's client keeps the credentials for *registry*."""
    host = _host(registry)
    return f"https://index.{_DEFAULT}/v1/" if host in ("", _DEFAULT, f"index.{_DEFAULT}") else host


def find(registry: str) -> Auth:
    """Empty when nobody has logged in there. Raises `click.ClickException`."""
    settings, key = _load(), key_of(registry)
    if helper := _helper(settings, key):
        found = _ask(helper, "get", key)
        if found is None:
            return {}
        name, secret = str(found.get("Username", "")), str(found.get("Secret", ""))
        told = {"identitytoken": secret} if name == _NOBODY else {"username": name, "password": secret}
        return {**told, "serveraddress": key}
    entries = _entries(settings)
    # Older clients wrote whole URLs.
    entry = entries.get(key) or next((entries[name] for name in entries if _host(name) == _host(key)), None)
    return {**_unpacked(entry), "serveraddress": key} if isinstance(entry, dict) and entry else {}


def keep(auth: Auth) -> Path | None:
    """Keep *auth* for its `serveraddress`. The file in which it is readable, None when a helper has it."""
    settings, key = _load(), auth["serveraddress"]
    token = auth.get("identitytoken", "")
    if helper := _helper(settings, key):
        name, secret = (_NOBODY, token) if token else (auth["username"], auth["password"])
        _ask(helper, "store", json.dumps({"ServerURL": key, "Username": name, "Secret": secret}))
        entry: Auth = {}
    else:
        pair = f"{auth['username']}:{'' if token else auth['password']}"
        entry = {"auth": base64.b64encode(pair.encode()).decode()} | ({"identitytoken": token} if token else {})
    settings["auths"] = {**_entries(settings), key: entry}
    _save(settings)
    return None if helper else _file()


def forget(registry: str) -> bool:
    """Whether there was something to forget."""
    settings, key = _load(), key_of(registry)
    known = bool(find(registry))
    if helper := _helper(settings, key):
        _ask(helper, "erase", key)
    entries = _entries(settings)
    kept = {name: entry for name, entry in entries.items() if _host(name) != _host(key)}
    if kept != entries:
        settings["auths"] = kept
        _save(settings)
    return known


def _host(address: str) -> str:
    return address.partition("://")[2].partition("/")[0] if "://" in address else address.partition("/")[0]


def _unpacked(entry: dict[str, Any]) -> Auth:
    found = {name: str(entry[name]) for name in ("identitytoken", "registrytoken") if entry.get(name)}
    try:
        name, _, password = base64.b64decode(str(entry.get("auth", "")), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise click.ClickException(f"{_file()} holds credentials that cannot be read: log in again") from None
    return {"username": name, "password": password.strip("\0"), **found}


def _file() -> Path:
    directory = os.environ.get("DOCKER_CONFIG")
    return (Path(directory) if directory else Path.home() / ".docker") / "config.json"


def _entries(settings: dict[str, Any]) -> dict[str, Any]:
    entries = settings.get("auths")
    return entries if isinstance(entries, dict) else {}


def _load() -> dict[str, Any]:
    try:
        settings = json.loads(_file().read_text() or "{}")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise click.ClickException(f"cannot read {_file()}: {error}") from error
    if not isinstance(settings, dict):
        raise click.ClickException(f"cannot read {_file()}: it is no JSON object")
    return settings


def _save(settings: dict[str, Any]) -> None:
    """Whole or not at all, and for its owner alone."""
    target = _file().resolve()
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=target.parent, prefix="config.json", delete=False) as file:
            try:
                file.write(json.dumps(settings, indent="\t") + "\n")
                file.flush()
                Path(file.name).replace(target)
            except BaseException:
                Path(file.name).unlink()
                raise
    except OSError as error:
        raise click.ClickException(f"cannot write {target}: {error.strerror}") from error


def _helper(settings: dict[str, Any], key: str) -> str:
    """The program that keeps the credentials for *key*; empty if the file itself does."""
    helpers = settings.get("credHelpers")
    name = (helpers.get(key) if isinstance(helpers, dict) else None) or settings.get("credsStore") or ""
    if name and not (isinstance(name, str) and _HELPER.fullmatch(name)):
        raise click.ClickException(f"{_file()} names {name!r} as a credential helper, which is no name of a program")
    return f"docker-credential-{name}" if name else ""


def _ask(helper: str, verb: str, text: str) -> dict[str, Any] | None:
    """What the helper answers; None if it knows nothing of it. docker's protocol: a word, then text on its input."""
    try:
        done = subprocess.run([helper, verb], input=text, capture_output=True, text=True, check=False)
    except OSError as error:
        raise click.ClickException(f"cannot run {helper}: {error.strerror}") from error
    if done.returncode != 0:
        said = (done.stdout or done.stderr).strip()
        if "credentials not found" in said:
            return None
        raise click.ClickException(f"{helper}: {said or f'it ended with {done.returncode}'}")
    try:
        found = json.loads(done.stdout) if verb == "get" else {}
    except ValueError:
        raise click.ClickException(f"{helper}: its answer is not JSON") from None
    return found if isinstance(found, dict) else {}
