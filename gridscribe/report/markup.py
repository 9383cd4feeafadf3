"""HTML by elements. Text is escaped wherever it goes in: only what `tag` itself has made is taken for markup."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

from gridscribe.backends import redact

VOID = {"meta", "img", "rect", "line"}


class Markup(str):
    """HTML that is written as it is."""

    __slots__ = ()


def tag(name: str, /, *children: str, **attributes: str | float) -> Markup:
    """`<name attributes>children</name>`, text among the children escaped.

    An underscore in the name of an attribute stands for a hyphen, one at its end is dropped (`class_`).
    """
    told = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(_number(value))}"' for key, value in attributes.items()
    )
    if name in VOID:
        return Markup(f"<{name}{told}>" if name in {"meta", "img"} else f"<{name}{told}/>")
    return Markup(f"<{name}{told}>{join(children)}</{name}>")


def join(children: Iterable[str]) -> Markup:
    """The children one after the other, text escaped."""
    return Markup("".join(child if isinstance(child, Markup) else html.escape(child) for child in children))


def table(caption: str, head: Iterable[str], rows: Iterable[Iterable[str]], *, numbers: Iterable[int] = ()) -> Markup:
    """A table whose first cell of every row names it; the columns in `numbers` stand right."""
    right = set(numbers)

    def cell(name: str, k: int, child: str, **attributes: str) -> Markup:
        return tag(name, child, **attributes, **({"class_": "number"} if k in right else {}))

    titles = tag("tr", *(cell("th", k, title, scope="col") for k, title in enumerate(head)))
    body = (
        tag("tr", *(cell("td", k, c) if k else cell("th", k, c, scope="row") for k, c in enumerate(row)))
        for row in rows
    )
    inner = tag("table", tag("caption", caption), tag("thead", titles), tag("tbody", *body))
    return tag("div", inner, class_="scroll")


def place(text: str) -> Markup:
    """A path or a URI, as code, without user info, signatures and queries of URLs.

    In a `bdi`, so that a name written from right to left does not turn around what stands beside it.
    """
    return tag("bdi", without_secrets(text), class_="place")


def without_secrets(text: str) -> str:
    """`text` without what URLs may carry besides a place: user info, and the whole query of http(s) ones."""
    return re.sub(r"(https?://[^\s?\"']+)\?[^\s!#\"']*", r"\1?...", redact(text))


def _number(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
