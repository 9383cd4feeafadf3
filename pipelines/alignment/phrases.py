"""Phrases that a model is examined with: how objects are called in training, and how they never are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from gridscribe.models.clip.concepts import Concept, ConceptBank
from gridscribe.pipelines.alignment.wording import OTHER_WORDS, kept_back, wordings

Named = tuple[str, str]
"""A category and a caption."""
Group = Literal["category", "seen", "synonym", "combination"]
GROUPS: dict[Group, str] = {
    "category": "names of categories",
    "seen": "captions, in words that training says",
    "synonym": "known captions in words that training never says",
    "combination": "captions that training says in no words",
}


@dataclass(frozen=True, slots=True)
class Phrase:
    """A question, and what answers it."""

    text: str
    group: Group
    category: str
    """Of the objects that it is right for."""
    right: frozenset[Named]
    """Objects of these categories and captions are right answers."""
    captions: frozenset[str]
    """Those of `right` that say just this, in these or other words."""


def said_in_training(named: Iterable[Named]) -> frozenset[str]:
    """Every phrase that training on objects of these may say (`wording.said_of`)."""
    return frozenset(
        way
        for category, caption in set(named)
        for way in (*wordings(caption), *wordings(category))
        if not kept_back(way, category)
    )


def phrases_of(named: Sequence[Named], said: frozenset[str]) -> list[Phrase]:
    """Every way of naming the objects of these categories and captions, by group and text.

    A phrase is right for an object whose caption or category it is a wording of. Wordings that leave a word out ("conifer" for
    "medium-sized conifer") are no questions: they would be true of other objects too. `said`: see `said_in_training`.
    """
    distinct = sorted(set(named))
    right: dict[str, set[Named]] = {}
    for category, caption in distinct:
        for way in (*wordings(caption), *wordings(category)):
            right.setdefault(way, set()).add((category, caption))
    found = {}
    for category, caption in distinct:
        ways = wordings(caption)
        known = any(way in said for way in ways)
        for way in (*wordings(category), *(way for way in ways if not _shorter(caption, way))):
            group: Group = "seen" if way in said else "synonym" if known else "combination"
            if way in wordings(category):
                group = "category"
            if way not in found:
                captions = frozenset(other for _, other in right[way] if way in wordings(other))
                found[way] = Phrase(way, group, category, frozenset(right[way]), captions)
    return sorted(found.values(), key=lambda one: (list(GROUPS).index(one.group), one.text))


def category_bank(categories: Iterable[str]) -> ConceptBank:
    """Categories with their other words, to be told apart by."""
    return ConceptBank(tuple(Concept(name, tuple(wordings(name)[1:])) for name in sorted(set(categories))))


def concept_named(phrase: str, bank: ConceptBank) -> int | None:
    """The concept of which a word stands in `phrase`, the longest of such words; None where there is none."""
    text = f" {phrase.casefold()} "
    found = [
        (len(word), -k) for k, one in enumerate(bank.concepts) for word in one.words if f" {word.casefold()} " in text
    ]
    return -max(found)[1] if found else None


def _shorter(caption: str, way: str) -> bool:
    return any("" in others and word in caption and word not in way for word, others in OTHER_WORDS.items())
