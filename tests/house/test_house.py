# SPDX-License-Identifier: Apache-2.0
"""The house's own rules: what the documents name exists, modules stay small, every source says its licence."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(
    path
    for pattern in (
        *("src/**/*.py", "bench/*.py", "tools/*.py", "tests/**/*.py", "guest/**/*.[ch]"),
        *("hypervisor/*.py", "hypervisor/*.c", "hypervisor/launch/*.c"),
    )
    for path in ROOT.glob(pattern)
    if path.stat().st_size
)
FOLDERS = ("src", "guest", "hypervisor", "tests", "tools", "bench")


def _longest(path: Path) -> int:
    """Lines that a file may have: a list of tests is read one by one, a module as a whole."""
    return 600 if "tests" in path.parts[len(ROOT.parts) :] else 500


def _licence(path: Path) -> str:
    """What is compiled into QEMU is under a licence of QEMU's."""
    return "GPL-2.0-or-later" if path.match("hypervisor/*.c") else "Apache-2.0"


def test_every_source_names_its_licence() -> None:
    silent = [path for path in SOURCES if f"SPDX-License-Identifier: {_licence(path)}" not in path.read_text()[:200]]
    assert silent == []


def test_each_licence_has_its_text() -> None:
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    assert "GNU GENERAL PUBLIC LICENSE" in (ROOT / "LICENSES/GPL-2.0-or-later.txt").read_text()
    assert {_licence(path) for path in SOURCES} == {"Apache-2.0", "GPL-2.0-or-later"}


def test_no_module_is_longer_than_it_can_be_held_in_the_head() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in SOURCES}
    assert [path for path, length in lengths.items() if length > _longest(path)] == []


def documents() -> list[Path]:
    return [ROOT / "README.md", ROOT / "SPECIFICATION.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_a_document_names_exist(document: Path) -> None:
    text = document.read_text()
    named = set(re.findall(r"`((?:src|guest|hypervisor|tests|docs|bench|tools)/[\w./-]+)`", text))
    linked = set(re.findall(r"\]\(([\w./-]+\.md)\)", text))
    missing = [name for name in named if not (ROOT / name).exists()]
    missing += [name for name in linked if not (document.parent / name).exists()]
    assert missing == []


def documents_named(text: str) -> set[str]:
    return set(re.findall(r"\bdocs/[\w/-]+\.md\b", text))


def test_documents_that_sources_name_exist() -> None:
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]
    texts = {path: path.read_text(errors="replace") for path in files if path.suffix != ".pyc"}
    named = {(path, name) for path, text in texts.items() for name in documents_named(text)}
    assert {path.relative_to(ROOT).parts[0] for path, _ in named} >= {"src", "guest", "hypervisor", "tests"}
    assert {(path, name) for path, name in named if not (ROOT / name).exists()} == set()


@pytest.mark.parametrize("mark", ["# %s", "/* As %s. */", "`%s`", '"""%s: why"""', "(%s)", "%s:12", "../%s#part"])
def test_a_document_is_found_however_it_is_named(mark: str) -> None:
    page = "docs/" + "adr/0099-nonesuch.md"
    assert documents_named(mark % page) == {page}


def test_the_specification_names_a_test_or_a_figure_for_every_promise() -> None:
    rows = [line for line in (ROOT / "SPECIFICATION.md").read_text().splitlines() if line.startswith("| ")]
    shown = [row.strip("| ").split(" | ")[-1] for row in rows if "shown by" not in row]
    assert shown
    assert [text for text in shown if "::" not in text and "bench: `" not in text] == []
    missing = []
    for file, path in re.findall(r"`([\w/]+\.py)::([\w:]+)`", "\n".join(shown)):
        source = ROOT / file if file.startswith("tests/") else ROOT / "tests" / file
        name = path.rpartition("::")[2]
        if not source.exists() or not re.search(rf"^ *(async )?def {name}\(", source.read_text(), re.MULTILINE):
            missing.append(f"{file}::{path}")
    assert missing == []


def test_every_decision_is_in_the_index() -> None:
    index = (ROOT / "docs/adr/README.md").read_text()
    pages = [page.name for page in (ROOT / "docs/adr").glob("[0-9]*.md")]
    assert [name for name in pages if f"({name})" not in index] == []


def test_make_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = set(re.findall(r"^\.PHONY: (\S+)$", makefile, re.MULTILINE))
    listed = subprocess.run(["make", "-s", "help"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert {f"make {name}" for name in phony} <= {" ".join(line.split()[:2]) for line in listed.splitlines()}


def test_every_setting_is_documented() -> None:
    text = (ROOT / "src/hypercell/base/config.py").read_text()
    body = text[text.index("class Config") : text.index("@property")]
    undocumented = re.findall(r"^    (\w+): .*?$(?!\n    \"\"\")", body, re.MULTILINE)
    assert undocumented == []


def test_every_command_has_an_example() -> None:
    from hypercell.cli.main import cli

    context = cli.make_context("hypercell", ["ps"])
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        for each in getattr(command, "commands", {name: command}).values():
            assert "hypercell " in (each.help or ""), f"{name} has no example in its help"
