"""Retrieval: phrases to objects, captions to views and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from gridscribe.models.clip.concepts import ConceptBank
from gridscribe.pipelines.alignment.baselines import Baselines
from gridscribe.pipelines.alignment.objects import SceneObjects
from gridscribe.pipelines.alignment.phrases import GROUPS, Phrase, concept_named
from gridscribe.pipelines.alignment.ranking import Retrieval, mean_of, retrieval

Floats = NDArray[np.floating]
Score = Callable[[Phrase, int], Floats]
"""Scores [N] of all objects for a phrase, which is the k-th."""


def phrase_retrieval(
    phrases: Sequence[Phrase], objects: SceneObjects, ways: dict[str, Score], orders: Sequence[NDArray[np.intp]]
) -> dict[str, dict[str, Retrieval]]:
    """Group of phrases -> way of scoring -> measures. `shuffled captions`: the first way, with categories and captions dealt out
    anew among the objects (`orders`).
    """
    named = list(zip(objects.categories, objects.captions, strict=True))
    found: dict[str, dict[str, Retrieval]] = {}
    for group in GROUPS:
        chosen = [
            (phrase, k, np.array([one in phrase.right for one in named]))
            for k, phrase in enumerate(phrases)
            if phrase.group == group
        ]
        if not chosen:
            continue
        found[group] = {
            name: retrieval((score(phrase, k), right) for phrase, k, right in chosen) for name, score in ways.items()
        }
        first = next(iter(ways.values()))
        scored = [(first(phrase, k), right) for phrase, k, right in chosen]
        found[group]["shuffled captions"] = mean_of(
            [retrieval((scores, right[order]) for scores, right in scored) for order in orders]
        )
    return found


def by_vectors(words: Floats, vectors: Floats) -> Score:
    """By the cosine of a phrase's vector, the k-th of `words`, with the objects' `vectors` [N, D]."""
    scores = words @ vectors.T
    return lambda _, k: scores[k]


def by_chance(count: int) -> Score:
    """All the same."""
    return lambda *_: np.zeros(count)


def by_class(bank: ConceptBank, classes: NDArray[np.uint8]) -> Score:
    """Objects of the mask's class that a word of the phrase names come first; all the same where none does."""

    def score(phrase: Phrase, _: int) -> Floats:
        named = concept_named(phrase.text, bank)
        return (classes == (-1 if named is None else named)).astype(np.float64)

    return score


def by_true_category(objects: SceneObjects) -> Score:
    """Objects of the phrase's category come first, as if it were known: what is above it has understood more than categories."""
    categories = np.array(objects.categories)
    return lambda phrase, _: (categories == phrase.category).astype(np.float64)


def by_colour(baselines: Baselines, colours: NDArray[np.float32], said: frozenset[str]) -> Score:
    """Likeness to the mean colours of training objects of that caption, where training says it at all; else of the category."""

    def score(phrase: Phrase, _: int) -> Floats:
        known = [baselines.by_caption[one] for one in sorted(phrase.captions) if one in baselines.by_caption]
        if phrase.group in ("category", "combination") or not known or not said:
            known = [baselines.by_category[phrase.category]] if phrase.category in baselines.by_category else []
        return colours @ np.mean(known, axis=0) if known else np.zeros(len(colours))

    return score


def view_retrieval(
    images: Floats, texts: Floats, captions: Sequence[str], orders: Sequence[NDArray[np.intp]]
) -> dict[str, dict[str, Retrieval]]:
    """Direction -> way of scoring -> measures, of as many views as captions; views of one caption are all right for it."""
    same = np.array([[one == other for other in captions] for one in captions])
    cosines = images @ texts.T
    found = {}
    for direction, scores in (("view to caption", cosines), ("caption to view", cosines.T)):
        found[direction] = {
            "model": retrieval(zip(scores, same, strict=True)),
            "chance": retrieval(zip(np.zeros_like(scores), same, strict=True)),
            "shuffled captions": mean_of([retrieval(zip(scores, same[order], strict=True)) for order in orders]),
        }
    return found
