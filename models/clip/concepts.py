"""Concept files: what a text names, as plain text, and one vector for each.

    # a comment
    [template] a satellite photo of {}.
    building; house; roof
    swimming pool; pool

A line is a concept: its name, then other words for it, separated by semicolons. `[template]` lines say into which sentences words
are put, for all concepts; without any, those of `text.SATELLITE`. One kind of file serves classes of a segmentation and the bank
that regions are labelled from.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gridscribe.canonical import canonical_json, sha256
from gridscribe.errors import UsageError
from gridscribe.models.clip.text import SATELLITE

Float32 = NDArray[np.float32]

TEMPLATE = "[template]"
LONGEST = 1 << 24
"""Bytes of a file."""


@dataclass(frozen=True, slots=True)
class Concept:
    """One thing that can be named."""

    name: str
    synonyms: tuple[str, ...] = ()
    """Other words for it."""

    @property
    def words(self) -> tuple[str, ...]:
        """Its name and synonyms."""
        return self.name, *self.synonyms


@dataclass(frozen=True, slots=True)
class ConceptBank:
    """Concepts in the order of their file, and the sentences that their words are put into."""

    concepts: tuple[Concept, ...]
    templates: tuple[str, ...] = SATELLITE

    @property
    def names(self) -> tuple[str, ...]:
        """Of the concepts, in order."""
        return tuple(concept.name for concept in self.concepts)

    @property
    def digest(self) -> str:
        """sha256, hex, of what the bank says: concepts, their words, the templates, in order; comments and layout are no part."""
        return sha256(
            canonical_json(
                {"concepts": [list(concept.words) for concept in self.concepts], "templates": list(self.templates)}
            )
        )

    def to_text(self) -> str:
        """As a file; `parse_concepts` reads it back as an equal bank."""
        lines = [f"{TEMPLATE} {template}" for template in self.templates]
        return "\n".join([*lines, *("; ".join(concept.words) for concept in self.concepts)]) + "\n"


class Embedder(Protocol):
    """What turns phrases into vectors: `models.clip.text.TextEncoder`."""

    def embed(self, phrases: list[str], templates: tuple[str, ...]) -> Float32:
        """L2-normalised float32 [N, D], a row per phrase: the mean over the templates."""
        ...


def parse_concepts(text: str, where: str) -> ConceptBank:
    """The bank that `text`, the content of the file `where`, describes.

    Raises UsageError, naming file and line, for an empty word, a word that stands in the file already (case does not count), a
    template without exactly one `{}`, another `[...]` line, and a file without any concept.
    """
    concepts: list[Concept] = []
    templates: list[str] = []
    known: dict[str, int] = {}
    for number, raw in enumerate(text.splitlines(), 1):
        line, at = raw.strip(), f"{where}, line {number}"
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            templates.append(_template(line, at))
            continue
        words = [" ".join(word.split()) for word in line.split(";")]
        for word in words:
            if not word:
                raise UsageError(f"{at}: {raw!r} has an empty word; write `name; synonym; synonym`")
            if first := known.get(word.casefold()):
                raise UsageError(f"{at}: {word!r} stands in line {first} already; a word can mean one concept")
            known[word.casefold()] = number
        concepts.append(Concept(words[0], tuple(words[1:])))
    if not concepts:
        raise UsageError(f"{where}: names no concept; write one on each line, `name; synonym; synonym`")
    return ConceptBank(tuple(concepts), tuple(templates) or SATELLITE)


def concepts_path(name: str | Path) -> Path:
    """The file that `name` means: a path, or the name of one in `configs/alignment/` without `.txt`. Raises UsageError."""
    import gridscribe.configs

    path = Path(name)
    if path.is_file():
        return path
    folder = Path(gridscribe.configs.__path__[0]) / "alignment"
    shipped = folder / f"{path.name}.txt"
    if str(name) == path.name and shipped.is_file():
        return shipped
    names = ", ".join(sorted(found.stem for found in folder.glob("*.txt")))
    raise UsageError(f"concepts {str(name)!r}: neither a file nor one of {names}")


def read_concepts(path: Path) -> ConceptBank:
    """The bank of a file, UTF-8. Raises UsageError where it cannot be read, and what `parse_concepts` raises."""
    try:
        if (size := path.stat().st_size) > LONGEST:
            raise UsageError(f"{path}: has {size} bytes, the limit is {LONGEST}")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read as a UTF-8 text of concepts: {error}") from error
    return parse_concepts(text, str(path))


def embed_concepts(bank: ConceptBank, encoder: Embedder) -> Float32:
    """One unit vector per concept, float32 [K, D]: the normalised mean of its words' vectors, each of them a mean over templates.

    A concept's bits depend on no other concept. Raises QueryError where a word with its template is longer than the tower reads.
    """
    rows = [encoder.embed(list(concept.words), bank.templates).mean(axis=0) for concept in bank.concepts]
    vectors = np.stack(rows)
    result: Float32 = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))
    return result


def _template(line: str, at: str) -> str:
    template = line.removeprefix(TEMPLATE).strip()
    if not line.startswith(TEMPLATE):
        raise UsageError(f"{at}: {line!r} is not known; the only line in brackets is `{TEMPLATE} a sentence of {{}}`")
    if template.count("{}") != 1:
        raise UsageError(f"{at}: template {template!r} must hold {{}} once, for the word")
    return template
