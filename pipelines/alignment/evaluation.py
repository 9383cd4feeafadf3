"""Examination of an alignment package on held-out generated scenes: naming regions, finding them by words, masks by words.

Everything stands beside what it must beat: chance, the classes of a mask alone, colours alone, and the same model with captions
dealt out at random. Phrases are those that training says, and apart from them those that it never says: other words for what it
knows, and combinations that it says in no words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gridscribe.errors import InputError, QueryError, UsageError
from gridscribe.models.clip.concepts import ConceptBank, embed_concepts, read_concepts
from gridscribe.models.clip.encoder import open_encoder, resolve_encoder
from gridscribe.models.clip.open_vocabulary import BIAS, open_vocabulary
from gridscribe.models.clip.package import AlignmentPackage
from gridscribe.models.clip.shared_encoder import SharedEncoder
from gridscribe.models.clip.text import SATELLITE, TextEncoder
from gridscribe.pipelines.alignment.baselines import SIDE, Baselines, histograms, learn
from gridscribe.pipelines.alignment.calibration import ClassOffsets, fitted_for, read_offsets
from gridscribe.pipelines.alignment.classifying import (
    Classification,
    baseline_scores,
    classification,
    guessing,
    shuffled,
)
from gridscribe.pipelines.alignment.embedding import class_vectors
from gridscribe.pipelines.alignment.objects import SceneObjects, read_objects
from gridscribe.pipelines.alignment.phrases import Phrase, category_bank, phrases_of, said_in_training
from gridscribe.pipelines.alignment.ranking import Retrieval
from gridscribe.pipelines.alignment.retrieving import (
    Score,
    by_chance,
    by_class,
    by_colour,
    by_true_category,
    by_vectors,
    phrase_retrieval,
    view_retrieval,
)
from gridscribe.pipelines.alignment.segmenting import Segmentation, calibrate, segmentation
from gridscribe.pipelines.alignment.views import Views
from gridscribe.pipelines.datasets import LabelledImage, find_labelled
from gridscribe.pipelines.datasets.legends import GAMUS
from gridscribe.progress import Quiet, Reporter

VIEWS = 256
SHUFFLES = 20
MOST_PASSED_OVER = 3
"""Times as many views as are wanted: with more captions that are too long, the text tower is of another kind."""
CALIBRATED_ON = 12


@dataclass(frozen=True, slots=True)
class Examination:
    """What is examined, and how; everything drawn depends on `seed` alone."""

    held_out: Path
    """Generated scenes that the model was not trained on."""
    train: Path
    """Those that it was trained on: what captions say there, colours and classes of their objects, labels to calibrate on."""
    classes: Path
    """Class file of the segmentation, in the order of the labels; also the words of the class-name lookup."""
    engine: str = "auto"
    variant: str | None = None
    seed: int = 0
    stride: int | None = None
    """Pixels between windows of the segmentation; half a window unless given."""
    bias: float = BIAS
    """Share of the window's own score that is taken off (`OpenVocabulary`)."""
    views: int = VIEWS
    calibrated_on: int = CALIBRATED_ON
    """Training scenes that offsets are fitted on."""
    offsets: Path | None = None
    """Offsets fitted before (`read_offsets`), in place of fitting them."""
    baselines: bool = True
    """Whether what needs no model is measured too; a series of models needs it once."""

    def __post_init__(self) -> None:
        if self.views < 2 or self.calibrated_on < 1:
            raise UsageError(f"views={self.views}, calibrated_on={self.calibrated_on}: at least 2 and 1 are needed")


@dataclass(frozen=True, slots=True)
class AlignmentScores:
    """What came of an examination."""

    facts: dict[str, Any]
    """Model, engine, data, phrases."""
    classification: dict[str, Classification]
    """By way of classifying; "model" is the package."""
    retrieval: dict[str, dict[str, Retrieval]]
    """Group of phrases (`phrases.GROUPS`) -> way of ranking."""
    views: dict[str, dict[str, Retrieval]]
    """Direction -> way of ranking."""
    segmentation: Segmentation

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            **self.facts,
            "classification": {name: one.to_json() for name, one in self.classification.items()},
            "retrieval": _nested(self.retrieval),
            "views": _nested(self.views),
            "segmentation": self.segmentation.to_json(),
        }


def evaluate_alignment(package: AlignmentPackage, how: Examination, report: Reporter | None = None) -> AlignmentScores:
    """Examine a package, loaded with both towers.

    Raises UsageError for what cannot be examined so, InputError for scenes that cannot be read, EngineError where the engine
    cannot be had, QueryError where a caption is longer than the text tower reads.
    """
    report = report or Quiet()
    bank = read_concepts(how.classes)
    if bank.names != GAMUS.classes:
        raise UsageError(
            f"{how.classes}: names the classes {list(bank.names)}, the scenes' labels are {list(GAMUS.classes)}"
        )
    if how.held_out.resolve() == how.train.resolve():
        raise UsageError(f"{how.held_out} is both held out and trained on: scores would say nothing")
    text = TextEncoder(package)
    held, train = read_objects(how.held_out), read_objects(how.train)
    said = said_in_training(zip(train.categories, train.captions, strict=True))
    phrases = phrases_of(list(zip(held.categories, held.captions, strict=True)), said)
    spec = resolve_encoder(how.engine, package, variant=how.variant)
    encoder = SharedEncoder(open_encoder(spec, package))
    try:
        regions = class_vectors(encoder, held.crops(spec.window), len(held), "objects", report)
        shown, captions, passed_over = _views(how, held, encoder, text, report)
    finally:
        encoder.close()
    known = _Known.of(held, train, bank, report, seed=how.seed) if how.baselines else None
    orders = _orders(len(held), how.seed)
    categories = category_bank((*held.categories, *train.categories))
    segmented = _segment(package, how, bank, text, report)
    facts = {
        "model": {"name": package.name, "digest": package.digest, "source": package.source},
        "engine": spec.to_json(),
        "data": {
            "held_out": {"scenes": len(held.images), "objects": len(held)},
            "train": {"scenes": len(train.images), "objects": len(train)},
            "categories": list(categories.names),
            "views": len(captions),
            "views_passed_over": passed_over,
        },
        "phrases": {one.text: one.group for one in phrases},
        "templates": list(SATELLITE),
        "classes": {"file": how.classes.stem, "digest": bank.digest, "bias": how.bias},
        "seed": how.seed,
    }
    return AlignmentScores(
        facts,
        _classify(held, categories, regions, embed_concepts(categories, text), known, orders),
        phrase_retrieval(phrases, held, _ways(phrases, held, regions, text, known, said), orders),
        view_retrieval(shown, text.embed(captions), captions, _orders(len(captions), how.seed)),
        segmented,
    )


@dataclass(frozen=True, slots=True)
class _Known:
    """What is told without a model, of the held-out objects."""

    learnt: Baselines
    colours: np.ndarray
    classes: np.ndarray
    bank: ConceptBank

    @classmethod
    def of(cls, held: SceneObjects, train: SceneObjects, bank: ConceptBank, report: Reporter, *, seed: int) -> _Known:
        report.say("baselines: colours and classes of the training scenes' objects")
        return cls(learn(train, seed), histograms(held.crops(SIDE)), held.mask_classes(), bank)


def _views(
    how: Examination, held: SceneObjects, encoder: SharedEncoder, text: TextEncoder, report: Reporter
) -> tuple[np.ndarray, list[str], int]:
    """Vectors of views drawn from the held-out scenes, their captions in words that training says, and how many were passed over.

    A caption that is longer than the tower reads is passed over with its view: training cuts it, a question is never cut.
    """
    drawn = Views(held.images, encoder.spec.window, seed=how.seed, count=0, plain=True)
    images: list[np.ndarray] = []
    captions: list[str] = []
    number = 0
    while len(images) < how.views:
        view = drawn[number]
        number += 1
        try:
            text.embed([view.text])
        except QueryError as error:
            if number - len(images) > MOST_PASSED_OVER * how.views:
                raise UsageError(
                    f"captions of {number - len(images)} views are too long for the text tower: {error}"
                ) from error
            continue
        images.append(view.image)
        captions.append(view.text)
    return class_vectors(encoder, images, how.views, "views", report), captions, number - len(images)


def _classify(
    held: SceneObjects,
    categories: ConceptBank,
    regions: np.ndarray,
    words: np.ndarray,
    known: _Known | None,
    orders: list[np.ndarray],
) -> dict[str, Classification]:
    number = {name: k for k, name in enumerate(categories.names)}
    truth = np.array([number[name] for name in held.categories])
    scores = regions @ words.T
    found = {"model": classification(scores, truth), "chance": guessing(truth, len(number))}
    if known is not None:
        others = baseline_scores(known.learnt, categories.names, known.colours, known.classes)
        found |= {name: classification(one, truth) for name, one in others.items()}
    return {**found, "shuffled captions": shuffled(scores, truth, orders)}


def _ways(
    phrases: list[Phrase],
    held: SceneObjects,
    regions: np.ndarray,
    text: TextEncoder,
    known: _Known | None,
    said: frozenset[str],
) -> dict[str, Score]:
    words = text.embed([phrase.text for phrase in phrases], SATELLITE)
    ways = {"model": by_vectors(words, regions), "chance": by_chance(len(held))}
    if known is not None:
        ways["class-name lookup"] = by_class(known.bank, known.classes)
        ways["colour histogram"] = by_colour(known.learnt, known.colours, said)
        ways["true category"] = by_true_category(held)
    return ways


def _segment(
    package: AlignmentPackage, how: Examination, bank: ConceptBank, text: TextEncoder, report: Reporter
) -> Segmentation:
    spec = resolve_encoder(how.engine, package, variant=how.variant)
    colors = dict(zip(GAMUS.classes, GAMUS.palette, strict=True))
    words = open_vocabulary(
        bank,
        text,
        name=f"{package.name}, {how.classes.stem}",
        scale=package.logit_scale,
        bias=how.bias,
        colors=colors,
    )
    images, sample = find_labelled("scenes", how.held_out), _sample(how)
    fitted: ClassOffsets
    if how.offsets is not None:
        fitted = read_offsets(how.offsets, **fitted_for(package, bank, spec, how.bias))
    else:
        fitted = calibrate(package, spec, words, bank.digest, sample, stride=how.stride, report=report)
    return segmentation(package, spec, words, fitted, images, sample, stride=how.stride, report=report)


def _sample(how: Examination) -> list[LabelledImage]:
    """Training scenes to calibrate on, drawn evenly."""
    images = find_labelled("scenes", how.train)
    if not images:
        raise InputError(f"{how.train}: holds no labelled scene to calibrate on")
    drawn = np.random.default_rng(how.seed).choice(len(images), min(how.calibrated_on, len(images)), replace=False)
    return [images[k] for k in sorted(drawn.tolist())]


def _orders(count: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng((seed, count))
    return [rng.permutation(count) for _ in range(SHUFFLES)]


def _nested(found: Mapping[str, Mapping[str, Retrieval]]) -> dict[str, dict[str, Any]]:
    return {group: {name: one.to_json() for name, one in ways.items()} for group, ways in found.items()}
