# SPDX-License-Identifier: Apache-2.0
"""`HostConfig.LogConfig`: docker's log drivers and their options.

dockerd looks at the values of most options only when the container starts; here they are refused when it is made, in
the words of that refusal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hypercell.api.docker.documents import Fields
from hypercell.api.docker.log_attributes import check_attributes
from hypercell.base.digits import is_digits
from hypercell.base.errors import InvalidArgument
from hypercell.cloud.contract import LogSpec

DEFAULT_DRIVER = "json-file"
_COMMON = ("mode", "max-buffer-size")
_FILES = ("max-file", "max-size", "compress")
_OPTIONS = {DEFAULT_DRIVER: (*_FILES, "labels", "labels-regex", "env", "env-regex", "tag"), "local": _FILES}
DRIVERS = tuple(_OPTIONS)
"""Those whose logs can be read; `none` is the absence of one."""
_LOCAL_FILES = 5
_BUFFER = 1000**2
"""docker's default of `max-buffer-size`."""
_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+) ?([^0-9. ]*)")
_SUFFIX = re.compile(r"(?:b|([kmgtp])(?:i?b)?)?")
_MOST = 1 << 62


def parse_logging(fields: Fields, echo: dict[str, Any]) -> LogSpec:
    """Raises `InvalidArgument`."""
    config = fields.object("LogConfig")
    driver, options = DEFAULT_DRIVER, {}
    if config is not None:
        driver = config.text("Type", limit=256) or DEFAULT_DRIVER
        options = config.text_mapping("Config")
        config.finish()
        echo["LogConfig"] = {"Type": driver, "Config": options}
    if driver == "none":
        return LogSpec(kept=False)
    buffer = _buffer(options)
    if driver not in _OPTIONS:
        raise InvalidArgument(f"logger: no log driver named '{driver[:100]}' is registered")
    for name in options:
        if name not in (*_OPTIONS[driver], *_COMMON):
            place = "json-file log driver" if driver == DEFAULT_DRIVER else f"log driver {driver}"
            raise InvalidArgument(f"unknown log opt '{name[:100]}' for {place}")
    try:
        spec = _json_file(options, buffer) if driver == DEFAULT_DRIVER else _local(options, buffer)
        check_attributes(options)
    except ValueError as error:
        raise InvalidArgument(f"failed to initialize logging driver: {error}") from None
    return spec


def _json_file(options: Mapping[str, str], buffer: int | None) -> LogSpec:
    size, files = 0, 0
    if "max-size" in options:
        size = _size(options["max-size"], 1000)
        if size <= 0:
            raise ValueError("max-size must be a positive number")
    if "max-file" in options:
        files = _number(options["max-file"])
        if files < 1:
            raise ValueError("max-file cannot be less than 1")
    compress = "compress" in options and _boolean(options["compress"])
    if compress and (files < 2 or not size):
        raise ValueError("compress cannot be true when max-file is less than 2 or max-size is not set")
    # docker's rotation begins with max-size, of one file; without it the operator's bound is shared by the files.
    return LogSpec(files=files or (1 if size else 0), file_size=size, compress=compress, buffer=buffer)


def _local(options: Mapping[str, str], buffer: int | None) -> LogSpec:
    size, files, compress = 0, _LOCAL_FILES, True
    if (text := options.get("max-size")) is not None:
        try:
            size = _size(text, 1000)
        except ValueError as error:
            raise ValueError(f"invalid value for max-size: {text[:100]}: {error}") from None
    if (text := options.get("max-file")) is not None:
        try:
            files = _number(text)
        except ValueError as error:
            raise ValueError(f"invalid value for max-file: {text[:100]}: {error}") from None
    if (text := options.get("compress")) is not None:
        try:
            compress = _boolean(text)
        except ValueError as error:
            raise ValueError(f"invalid boolean value for compress: {error}") from None
    if files < 0:
        raise ValueError("max-file must not be negative")
    if compress and files <= 1:
        raise ValueError("compression cannot be enabled when max file count is 1")
    return LogSpec(files=max(files, 1), file_size=size, compress=compress, buffer=buffer)


def _buffer(options: Mapping[str, str]) -> int | None:
    """Of docker's mode `non-blocking`; None: a program waits for its log."""
    mode = options.get("mode", "")
    if mode not in ("", "blocking", "non-blocking"):
        raise InvalidArgument(f"logger: logging mode not supported: {mode[:100]}")
    text = options.get("max-buffer-size")
    if text is None:
        return _BUFFER if mode == "non-blocking" else None
    if mode != "non-blocking":
        raise InvalidArgument("logger: max-buffer-size option is only supported with 'mode=non-blocking'")
    try:
        return _size(text, 1024)
    except ValueError as error:
        raise InvalidArgument(f"error parsing option max-buffer-size: {error}") from None


def _size(text: str, unit: int) -> int:
    """`10m`, `1.5 GB`, `64KiB`; *unit*: what a k stands for."""
    found = _SIZE.fullmatch(text) if len(text) <= 64 else None
    if found is None:
        raise ValueError(f"invalid size: '{text[:100]}'")
    suffix = found[2].lower()
    scale = _SUFFIX.fullmatch(suffix)
    if scale is None:
        raise ValueError(f"invalid suffix: '{suffix}'")
    power = " kmgtp".index(scale[1] or " ")
    return min(int(float(found[1]) * unit**power), _MOST)


def _number(text: str) -> int:
    if not is_digits(text.removeprefix("-").removeprefix("+")) or text.startswith(("-+", "+-")):
        raise ValueError(f'strconv.Atoi: parsing "{text[:100]}": invalid syntax')
    return int(text)


def _boolean(text: str) -> bool:
    if text not in (*_TRUE, *_FALSE):
        raise ValueError(f'strconv.ParseBool: parsing "{text[:100]}": invalid syntax')
    return text in _TRUE
