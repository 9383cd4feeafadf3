"""What documents and manifests tell a reader to type: blocks, the `gridscribe` commands in them, and whether these parse."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from gridscribe.cli import COMMANDS, cli

ENDS = ("|", ">", ">>", "2>", ";", "&&", "||", "&")
"""Words that end a command, or its arguments."""
BEFORE = ("if", "!", "until", "while")
"""Words that a command may follow."""


@dataclass(frozen=True)
class Block:
    """One fenced block of a document."""

    kind: str
    """Its info string: `sh` and `python` are executed; `sh cluster` and `sh long` only have to parse."""
    line: int
    """Of its first line of text, counted from 1."""
    text: str


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a document, in order."""
    text = page.read_text()
    return [
        Block(found[1].strip(), text.count("\n", 0, found.start(2)) + 1, found[2])
        for found in re.finditer(r"^```([^\n`]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    ]


def shell_text(page: Path) -> str:
    """Shell blocks of a document, those that cannot run here too."""
    return "\n".join(block.text for block in blocks(page) if block.kind.split(" ")[0] == "sh")


def gridscribe_lines(text: str) -> list[list[str]]:
    """The words of each `gridscribe ...` command of a shell script, after `gridscribe` itself."""
    found = []
    text = re.sub(r"<<'(\w+)'\n.*?^\1$", "", text.replace("\\\n", " "), flags=re.MULTILINE | re.DOTALL)
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        while words:
            while words and (re.fullmatch(r"[A-Z_]+=.*", words[0]) or words[0] in BEFORE):
                words = words[1:]
            end = next((k for k, word in enumerate(words) if word in ENDS), len(words))
            if words[:1] == ["gridscribe"]:
                found.append([word.rstrip(";") for word in words[1:end]])
            words = words[end + 1 :]
    return found


def check_command(words: list[str]) -> dict[str, Any]:
    """What click makes of `gridscribe WORDS`; fails for unknown commands and options, and for missing ones."""
    assert words[0] in COMMANDS, words
    command = cli.get_command(click.Context(cli), words[0])
    assert command is not None
    context = click.Context(command, info_name=words[0])
    try:
        found, rest, _ = command.make_parser(context).parse_args(list(words[1:]))
    except click.UsageError as error:
        raise AssertionError(f"gridscribe {shlex.join(words)}: {error.message}") from error
    assert not rest, words
    for param in command.params:
        value = found.get(param.name)
        given = value is not None and value != () and "UNSET" not in repr(value)
        assert given or not param.required, f"gridscribe {shlex.join(words)}: {param.name} is missing"
        if given and isinstance(param.type, click.Choice | click.types.IntParamType | click.types.FloatParamType):
            param.type_cast_value(context, value)
    return found
