# SPDX-License-Identifier: Apache-2.0
"""The programs that a fake guest can run, chosen by the name in `args[0]`. None needs a task of its own."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING

from hypercell.base.digits import is_digits

if TYPE_CHECKING:
    from hypercell.agent.fake.process import Process

_IGNORED_BY_DEFAULT = frozenset({17, 18, 23, 28})  # CHLD, CONT, URG, WINCH


class Program:
    """One running program. The process calls these; the program calls `process.write` and `process.exit`."""

    def __init__(self, process: Process, args: list[str]) -> None:
        self.process = process
        self.args = args

    def start(self) -> None:
        """Begin to run."""
        self.process.exit(0)

    def input(self) -> None:
        """There may be something to `process.read`."""

    def space(self) -> None:
        """All that was written is in the ring."""

    def signal(self, number: int) -> None:
        """Any signal but SIGKILL. By default it kills, unless the kernel's default is to ignore it."""
        if number not in _IGNORED_BY_DEFAULT:
            self.process.killed_by(number)


class Printer(Program):
    """A program that writes one text and ends."""

    def start(self) -> None:
        self.process.write(self.text().encode())
        self.process.exit(self.code())

    def code(self) -> int:
        return 0

    def text(self) -> str:
        raise NotImplementedError


class TrueProgram(Printer):
    def text(self) -> str:
        return ""


class FalseProgram(TrueProgram):
    def code(self) -> int:
        return 1


class Echo(Printer):
    def text(self) -> str:
        return " ".join(self.args[1:]) + "\n"


class Env(Printer):
    def text(self) -> str:
        return "".join(f"{line}\n" for line in self.process.env)


class Pwd(Printer):
    def text(self) -> str:
        return f"{self.process.cwd}\n"


class Hostname(Printer):
    def text(self) -> str:
        return f"{self.process.container.hostname}\n"


class Stty(Printer):
    """`stty size`: rows and columns of the terminal."""

    def text(self) -> str:
        return f"{self.process.rows} {self.process.columns}\n"


class Tty(Printer):
    def text(self) -> str:
        return "/dev/pts/0\n" if self.process.terminal else "not a tty\n"

    def code(self) -> int:
        return 0 if self.process.terminal else 1


class Cat(Program):
    """Files of the in-memory root if named, else standard input until its end."""

    def start(self) -> None:
        if len(self.args) == 1:
            self.input()
            return
        code = 0
        for name in self.args[1:]:
            data = self.process.container.tree.read(name)
            if data is None:
                self.process.write(f"cat: {name}: No such file or directory\n".encode(), error=True)
                code = 1
            else:
                self.process.write(data)
        self.process.exit(code)

    def input(self) -> None:
        while not self.process.blocked and (data := self.process.read(4096)):
            self.process.write(data)
        if self.process.input_ended and not self.process.blocked:
            self.process.exit(0)

    space = input


class Sleep(Program):
    """`sleep N` (seconds, `infinity` too). Time stands still while the container is paused."""

    def start(self) -> None:
        seconds = _seconds(self.args)
        if seconds is not None:
            self.process.after(seconds, lambda: self.process.exit(0))


class Stubborn(Sleep):
    """Sleeps for ever and ignores every signal that it may."""

    def start(self) -> None:
        pass

    def signal(self, number: int) -> None:
        pass


class Rehearse(Program):
    """Runs until a signal; with a word more, it ends."""

    def start(self) -> None:
        if len(self.args) > 1:
            self.process.exit(0)
        else:
            self.process.write(b"rehearsing\n", error=True)


class Yes(Program):
    """`yes [WORD]`, as fast as the output is read."""

    def start(self) -> None:
        word = " ".join(self.args[1:]) or "y"
        self._block = f"{word}\n".encode() * (8192 // (len(word) + 1) + 1)
        self.space()

    def space(self) -> None:
        while self.process.status == "running" and not self.process.blocked and self.process.has_reader:
            self.process.write(self._block)


class Oom(Program):
    """Asks for more memory than there is."""

    def start(self) -> None:
        self.process.out_of_memory()


class Panic(Program):
    """`echo c > /proc/sysrq-trigger`: takes the whole VM with it."""

    def start(self) -> None:
        self.process.container.guest.die("guest-panic")


class Shell(Program):
    """`sh -c SCRIPT`, or a script on standard input: commands separated by `;`, `&&` or newlines, run in order."""

    def start(self) -> None:
        self._status = 0
        self._words: list[list[str]] = []
        self._script = bytearray()
        if len(self.args) > 2 and self.args[1] == "-c":
            self._words = [*_commands(self.args[2]), ["exit"]]
            self._step()
        else:
            self.input()

    def input(self) -> None:
        if self.args[1:2] == ["-c"]:
            return
        while data := self.process.read(4096):
            self._script += data
        *lines, rest = bytes(self._script).split(b"\n")
        self._script = bytearray(rest)
        for line in lines:
            self._words += _commands(line.decode("utf-8", "replace"))
        if self.process.input_ended:
            self._words += _commands(self._script.decode("utf-8", "replace"))
            self._words.append(["exit"])
            self._script.clear()
        self._step()

    def _step(self) -> None:
        while self._words and self.process.status == "running":
            words = self._words.pop(0)
            if words[0] == "exit":
                self.process.exit(_status(words[1]) if len(words) > 1 else self._status)
            elif words[0] == "sleep" and (seconds := _seconds(words)) is not None:
                self.process.after(seconds, self._step)
                return
            elif words[0] == "trap":
                self.signal = lambda number: None  # type: ignore[method-assign]
            elif words[0] == "exec" and name_of(words[1:]) in PROGRAMS:
                self.process.become(words[1:])
                return
            elif name_of(words) in PROGRAMS:
                program = PROGRAMS[name_of(words)](self.process, words)
                if not isinstance(program, Printer):
                    self.process.become(words)
                    return
                self._print(program, words)
            else:
                self.process.write(f"sh: {words[0]}: not found\n".encode(), error=True)
                self._status = 127

    def _print(self, program: Printer, words: list[str]) -> None:
        """Run to its end what needs no waiting, with `> FILE` or `>&2`."""
        error = words[-1] in (">&2", "1>&2")
        path = words[-1] if len(words) > 2 and words[-2] == ">" else ""
        program.args = words[:-1] if error else words[:-2] if path else words
        text = program.text().encode()
        if path:
            self.process.container.tree.write(path, text)
        else:
            self.process.write(text, error=error)
        self._status = program.code()


def name_of(args: list[str]) -> str:
    """The program that *args* call, whatever its directory."""
    return args[0].rpartition("/")[2] if args else ""


def _seconds(args: list[str]) -> float | None:
    """How long `sleep` sleeps; None for ever."""
    word = args[1] if len(args) > 1 else "0"
    return float(word) if is_digits(word.replace(".", "", 1)) else None


def _status(word: str) -> int:
    return int(word) & 255 if is_digits(word) else 2


def _commands(script: str) -> list[list[str]]:
    """`a b; c && d` -> [[a, b], [c], [d]]"""
    lexer = shlex.shlex(script.replace("\n", " ; "), posix=True, punctuation_chars=";")
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    try:
        for word in lexer:
            if word == "&&" or not word.strip(";"):
                found.append([])
            else:
                found[-1].append(word)
    except ValueError:
        return [["exit", "2"]]
    return [words for words in found if words]


PROGRAMS: dict[str, Callable[[Process, list[str]], Program]] = {
    "true": TrueProgram,
    "false": FalseProgram,
    "echo": Echo,
    "env": Env,
    "pwd": Pwd,
    "hostname": Hostname,
    "stty": Stty,
    "tty": Tty,
    "cat": Cat,
    "sleep": Sleep,
    "stubborn": Stubborn,
    "yes": Yes,
    "oom": Oom,
    "panic": Panic,
    "sh": Shell,
    "rehearse": Rehearse,
}
