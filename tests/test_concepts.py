"""Concept files: what they say, what is wrong with them by file and line, and one vector for each concept."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridscribe.errors import UsageError
from gridscribe.models.clip.concepts import (
    Concept,
    ConceptBank,
    concepts_path,
    embed_concepts,
    parse_concepts,
    read_concepts,
)
from gridscribe.models.clip.text import SATELLITE
from gridscribe.pipelines.datasets.legends import GAMUS

FILE = """\
# what is looked for

[template] a satellite photo of {}.
building;  house ; detached   house
swimming pool; pool
"""


def test_a_file_is_read_line_by_line() -> None:
    bank = parse_concepts(FILE, "words.txt")
    assert bank.concepts == (Concept("building", ("house", "detached house")), Concept("swimming pool", ("pool",)))
    assert bank.templates == ("a satellite photo of {}.",)
    assert bank.names == ("building", "swimming pool")
    assert bank.concepts[0].words == ("building", "house", "detached house")
    assert parse_concepts("tree\n", "t").templates == SATELLITE


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("tree\nhouse;;shed\n", 2, "has an empty word"),
        ("tree;\n", 1, "has an empty word"),
        ("tree\n\n# c\npool; Tree\n", 4, "'Tree' stands in line 1 already"),
        ("house; home; house\n", 1, "'house' stands in line 1 already"),
        ("tree\n[template] no place\n", 2, "must hold {} once"),
        ("[template] {} and {}\ntree\n", 1, "must hold {} once"),
        ("[templates] {}\ntree\n", 1, "is not known"),
        ("[background] other\ntree\n", 1, "is not known"),
    ],
)
def test_what_is_wrong_is_named_by_file_and_line(text: str, line: int, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(f"words.txt, line {line}: ")) as error:
        parse_concepts(text, "words.txt")
    assert message in str(error.value)


@pytest.mark.parametrize("text", ["", "# nothing\n\n", "[template] a {}\n"])
def test_a_file_without_concepts_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"words.txt: names no concept"):
        parse_concepts(text, "words.txt")


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes("Bäume\n".encode("latin-1"))
    for path in (tmp_path / "latin.txt", tmp_path / "nowhere.txt", tmp_path):
        with pytest.raises(UsageError, match=re.escape(str(path))):
            read_concepts(path)
    (tmp_path / "bom.txt").write_bytes("\ufefftree\r\npond\r\n".encode())
    assert read_concepts(tmp_path / "bom.txt").names == ("tree", "pond")


word = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8)


@given(st.lists(st.lists(word, min_size=1, max_size=4), min_size=1, max_size=6), st.lists(word, max_size=3))
def test_a_bank_is_read_back_from_its_text(groups: list[list[str]], templates: list[str]) -> None:
    seen: set[str] = set()
    concepts = []
    for group in groups:
        words = [one for one in dict.fromkeys(group) if one.casefold() not in seen]
        words = list({one.casefold(): one for one in reversed(words)}.values())
        if words:
            concepts.append(Concept(words[0], tuple(words[1:])))
            seen |= {one.casefold() for one in words}
    if not concepts:
        return
    bank = ConceptBank(tuple(concepts), tuple(f"{one} {{}}" for one in templates) or SATELLITE)
    again = parse_concepts(bank.to_text(), "again")
    assert again == bank
    assert again.digest == bank.digest


def test_the_digest_is_of_what_is_said() -> None:
    bank = parse_concepts(FILE, "one")
    assert parse_concepts("#\n" + FILE.replace(";  ", "; ").replace("# what", "# who"), "other").digest == bank.digest
    changed = [FILE.replace("pool; ", "basin; "), FILE.replace("photo", "image"), FILE.replace("; pool", "")]
    lines = FILE.splitlines()
    changed.append("\n".join([*lines[:3], lines[4], lines[3]]))
    assert len({bank.digest, *(parse_concepts(text, "x").digest for text in changed)}) == 5


class Words:
    """A word's vector is drawn from its letters and templates."""

    def embed(self, phrases: list[str], templates: tuple[str, ...]) -> np.ndarray:
        rows = [np.random.default_rng([*phrase.encode(), len(templates)]).normal(size=6) for phrase in phrases]
        return np.array([row / np.linalg.norm(row) for row in rows], np.float32)


def test_a_concept_is_the_normalised_mean_of_its_words() -> None:
    bank = parse_concepts(FILE, "x")
    found = embed_concepts(bank, Words())
    assert found.dtype == np.float32
    for row, concept in zip(found, bank.concepts, strict=True):
        mean = sum(Words().embed([one], bank.templates)[0].astype(np.float64) for one in concept.words)
        np.testing.assert_allclose(row, mean / np.linalg.norm(mean), atol=1e-6)
    alone = embed_concepts(ConceptBank(bank.concepts[1:], bank.templates), Words())
    np.testing.assert_array_equal(alone[0], found[1])


def test_the_shipped_class_file_has_the_classes_of_gamus(tmp_path: Path) -> None:
    bank = read_concepts(concepts_path("gamus"))
    assert bank.names == GAMUS.classes
    assert all(len(concept.words) > 2 for concept in bank.concepts)
    own = tmp_path / "own.txt"
    own.write_text("tree\n")
    assert concepts_path(own) == own
    with pytest.raises(UsageError, match=r"'nosuch': neither a file nor one of gamus, scenes"):
        concepts_path("nosuch")


def test_reading_concepts_needs_no_torch() -> None:
    code = "import sys, gridscribe.models.clip.concepts as c; c.read_concepts(c.concepts_path('gamus'));"
    code += "print([m for m in ('torch', 'open_clip') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
