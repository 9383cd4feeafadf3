"""What became of the weights of a checkpoint: for a run's log and its package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

_NAMED = 5  # names that a text gives of a longer list


@dataclass(frozen=True, slots=True)
class Adapted:
    """A weight that was changed to fit."""

    name: str
    how: str


@dataclass(frozen=True, slots=True)
class Mismatched:
    """A weight that both sides have, in different shapes."""

    name: str
    found: tuple[int, ...]
    """In the file."""
    wanted: tuple[int, ...]
    """In the network."""

    def __str__(self) -> str:
        return f"{self.name} is {self.found} in the file, {self.wanted} here"


@dataclass(frozen=True, slots=True)
class Report:
    """Every name of the file's and of the part of the network that it went into stands in exactly one list."""

    into: str
    """`rgb`, `height` or `all`."""
    file: str
    """The checkpoint's name, without its folder."""
    sha256: str
    layout: str
    """Whose names the file uses."""
    matched: tuple[str, ...]
    """The network's names for what was taken as it is."""
    adapted: tuple[Adapted, ...]
    missing: tuple[str, ...]
    """Not in the file: left as the network had them."""
    unexpected: tuple[str, ...]
    """In the file, without a place in the network."""
    mismatched: tuple[Mismatched, ...]
    """Left as the network had them, since their shape is another."""
    unused: tuple[str, ...]
    """In the file and not asked for: classifiers, other parts, counters."""
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        """A few lines for people."""
        lines = [
            f"checkpoint {self.file} into {self.into} ({self.layout}): {len(self.matched)} matched, "
            f"{len(self.adapted)} adapted, {len(self.missing)} missing, {len(self.unexpected)} unexpected, "
            f"{len(self.mismatched)} of another shape, {len(self.unused)} not asked for"
        ]
        lines += [f"adapted {one.name}: {one.how}" for one in self.adapted]
        lists = {
            "left as they were": self.missing,
            "of another shape, left": self.mismatched,
            "without a place here": self.unexpected,
        }
        lines += [f"{title}: {some(names)}" for title, names in lists.items() if names]
        return "\n  ".join([*lines, *self.notes])

    def to_json(self) -> dict[str, Any]:
        """Everything, as plain data."""
        return asdict(self)

    def summary(self) -> dict[str, Any]:
        """What a package keeps: matches are counted, and what departs from them is named."""
        return {
            **{key: value for key, value in asdict(self).items() if key not in ("unused", "unexpected")},
            "matched": len(self.matched),
            "unexpected": list(self.unexpected[:_NAMED]),
            "missing": list(self.missing[:_NAMED]),
            "mismatched": [str(one) for one in self.mismatched],
            "adapted": {one.name: one.how for one in self.adapted},
            "notes": list(self.notes),
        }


def some(names: tuple[Any, ...]) -> str:
    """The first few, and how many more."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(map(str, names[:_NAMED])) + more


def reasons(counted: Mapping[str, tuple[Any, ...]]) -> str:
    """`2 weights missing: a, b; 1 of another shape: c`, without the empty ones."""
    return "; ".join(f"{len(names)} {title}: {some(names)}" for title, names in counted.items() if names)
