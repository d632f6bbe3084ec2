# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document says what the handlers take. That their answers are in it, every test checks that asks with the
fixture `client`."""

from __future__ import annotations

import ast
import functools
import inspect
import json
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

import pytest

from hypercell.api.docker import unbuilt
from hypercell.api.docker.application import TABLES
from hypercell.api.http import Route
from hypercell.api.native import ROUTES as NATIVE
from hypercell.api.openapi import DESCRIPTIONS
from tests.support.daemon import Daemon

ROUTES = {
    f"{route.method} {route.pattern}": route
    for table in (*TABLES, NATIVE)
    for route in table
    if table is not unbuilt.ROUTES
}
UNBUILT = {f"{route.method} {route.pattern}" for route in unbuilt.ROUTES}
OF_HTTP = {"content-type", "content-length"}
"""Headers that OpenAPI tells of by other means."""


def test_every_route_is_described() -> None:
    missing = ROUTES.keys() - DESCRIPTIONS.keys()
    assert not missing, "say what these take and answer in src/hypercell/api/openapi/, in the module of their kind"


def test_no_route_is_described_that_does_not_exist() -> None:
    assert not DESCRIPTIONS.keys() - ROUTES.keys() - UNBUILT


@pytest.mark.parametrize("name", ROUTES)
def test_what_a_handler_reads_is_described_and_nothing_else(name: str) -> None:
    _, operation = DESCRIPTIONS[name]
    query, headers = read_by(ROUTES[name])
    assert {parameter.name for parameter in operation.query} == query
    assert {parameter.name.lower() for parameter in operation.headers} == headers - OF_HTTP


@pytest.mark.parametrize("name", ROUTES)
def test_the_filters_that_a_handler_takes_are_described(name: str) -> None:
    """Those are in a constant that it hands to `Filters.parse`."""
    _, operation = DESCRIPTIONS[name]
    told = next((parameter.about for parameter in operation.query if parameter.name == "filters"), None)
    if told is None:
        return
    accepted = filters_of(ROUTES[name].handler)
    assert {word.strip("` ") for word in told.partition(" of ")[2].split(",")} == accepted


def test_the_document_is_served_and_printed(door: Daemon) -> None:
    status, served = door.call("GET", "/hypercell/openapi.json")
    assert status == 200
    assert served["openapi"].startswith("3.1")
    assert {f"{method.upper()} {path}" for path, methods in served["paths"].items() for method in methods} == {
        *ROUTES,
        *UNBUILT,
    }
    printed = subprocess.run([sys.executable, "-m", "hypercell.api.openapi"], capture_output=True, check=True)
    assert json.loads(printed.stdout) == served


# What a handler reads, found in its source: names that it, and whatever it hands its request to, asks the query for.


def read_by(route: Route[Any]) -> tuple[set[str], set[str]]:
    """The query's fields and the headers (in lower case)."""
    query: set[str] = set()
    headers: set[str] = set()
    for function, call in calls_below(route.handler):
        match call:
            case ast.Call(func=ast.Attribute(value=owner, attr="get" | "all"), args=[first, *_]) if is_query(owner):
                query |= texts(first, function)
            case ast.Call(func=ast.Name(), args=[owner, name, *_]) if is_query(owner):
                query |= texts(name, function)
            case ast.Call(func=ast.Attribute(attr="header"), args=[first, *_]):
                headers |= {text.lower() for text in texts(first, function)}
    return query, headers


def filters_of(handler: Callable[..., Any]) -> set[str]:
    for function, call in calls_below(handler):
        match call:
            case ast.Call(func=ast.Attribute(value=ast.Name("Filters"), attr="parse"), args=[_, ast.Name(constant)]):
                return set(function.__globals__[constant])
    raise AssertionError(f"{handler} takes no filters")


def calls_below(handler: Callable[..., Any]) -> Iterator[tuple[FunctionType, ast.Call]]:
    """The calls in *handler*, and in the functions of ours that get its request or the query of it."""
    waiting: list[Any] = [handler]
    seen = {handler}
    while waiting:
        function = waiting.pop()
        for node in ast.walk(source(function)):
            if not isinstance(node, ast.Call):
                continue
            yield function, node
            called = function.__globals__.get(node.func.id) if isinstance(node.func, ast.Name) else None
            ours = inspect.isfunction(called) and called.__module__.startswith("hypercell.api.")
            if ours and called not in seen and any(is_call(each) or is_query(each) for each in node.args):
                seen.add(called)
                waiting.append(called)


@functools.cache
def source(function: Callable[..., Any]) -> ast.Module:
    return ast.parse(textwrap.dedent(inspect.getsource(function)))


def is_call(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("call", "request")


def is_query(node: ast.expr) -> bool:
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    return name == "query"


def texts(node: ast.expr, function: FunctionType) -> set[str]:
    """What *node* may be: a text, a lower-cased constant, or each text of a tuple that is gone through."""
    match node:
        case ast.Constant(str(text)):
            return {text}
        case ast.Call(func=ast.Attribute(value=ast.Name(constant), attr="lower")):
            return {function.__globals__[constant]}
        case ast.Name(name):
            return {
                each.value
                for loop in ast.walk(source(function))
                if isinstance(loop, ast.comprehension | ast.For) and isinstance(loop.target, ast.Name)
                if loop.target.id == name and isinstance(loop.iter, ast.Tuple)
                for each in loop.iter.elts
                if isinstance(each, ast.Constant)
            }
    return set()
