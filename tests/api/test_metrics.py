# SPDX-License-Identifier: Apache-2.0
"""`GET /metrics`, and the page that tells of it."""

from __future__ import annotations

import re
from pathlib import Path

from hypercell.base.metrics import CONTENT_TYPE

from .conftest import Client
from .door import Make

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
ROW = re.compile(r"\| `(\w+)` \| (\w+) \| (.*?) ?\| (.+) \|")
SAMPLE = re.compile(r'(\w+?)(?:\{((?:\w+="(?:[^"\\]|\\.)*",?)+)\})? ([-+.e\w]+)')


async def scrape(client: Client) -> str:
    await client.send(b"GET /metrics HTTP/1.1\r\nHost: docker\r\n\r\n")
    status, headers, body = await client.answer()
    assert status == 200 and headers["content-type"] == CONTENT_TYPE
    return body.decode()


def value(text: str, name: str) -> float:
    return next((float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(f"{name} ")), 0.0)


async def test_every_metric_is_told_on_the_page_with_its_type_labels_and_meaning(client: Client, make: Make) -> None:
    await make("true", start=True)
    text = await scrape(client)
    told = {name: (kind, set(re.findall(r"`(\w+)`", labels)), words) for name, kind, labels, words in ROW.findall(PAGE)}
    helps = dict(re.findall(r"^# HELP (\w+) (.+)$", text, re.MULTILINE))
    types = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
    assert told.keys() == helps.keys() == types.keys()
    assert {name: (kind, words) for name, (kind, _, words) in told.items()} == {
        name: (types[name], helps[name]) for name in helps
    }
    for line in text.splitlines():
        if not line.startswith("#"):
            match = SAMPLE.fullmatch(line)
            assert match is not None, line
            name = match[1] if match[1] in told else re.sub("_(bucket|sum|count)$", "", match[1])
            labels = set(re.findall(r'(\w+)="', match[2] or "")) - {"le"}
            assert labels == told[name][1], line
            float(match[3])


async def test_starts_failures_and_states_are_counted(client: Client, make: Make) -> None:
    before = await scrape(client)
    await make("sleep", "infinity", start=True)
    missing = await make("nonesuch")
    status, _ = await client.ask("POST", f"/containers/{missing}/start")
    assert status == 400
    after = await scrape(client)

    def grown(name: str) -> float:
        return value(after, name) - value(before, name)

    def over_ways(name: str, rest: str = "") -> float:
        return sum(grown(f'{name}{{way="{way}"{rest}}}') for way in ("cold", "template", "pool"))

    assert over_ways("hypercell_start_seconds_count") == over_ways("hypercell_start_seconds_bucket", ',le="+Inf"') == 1
    assert over_ways("hypercell_start_step_seconds_count", ',step="api"') == 1
    assert over_ways("hypercell_vms_launched_total") == 2
    assert grown('hypercell_start_failures_total{reason="exec-failed"}') == 1
    assert grown('hypercell_containers{state="running"}') == grown("hypercell_vms") == 1
    assert grown('hypercell_containers{state="created"}') == 1
    assert value(after, "process_resident_memory_bytes") > 10 << 20
    assert value(after, "hypercell_memory_available_bytes") > 0


async def test_a_pull_that_fails_is_counted(client: Client) -> None:
    before = value(await scrape(client), 'hypercell_image_pulls_total{result="failed"}')
    await client.ask("POST", "/images/create?fromImage=127.0.0.1:9/nobody&tag=x")
    assert value(await scrape(client), 'hypercell_image_pulls_total{result="failed"}') == before + 1


async def test_no_metric_is_of_a_single_container(client: Client, make: Make) -> None:
    name = await make("sleep", "infinity", start=True)
    ident = (await client.ask("GET", f"/containers/{name}/json"))[1]["Id"]
    text = await scrape(client)
    assert ident[:12] not in text and f'"{name}"' not in text
