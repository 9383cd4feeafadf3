"""Masks by words: the engine against a pixel-by-pixel reference, the job's own blending, offsets fitted on a sample."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gridscribe.errors import EngineError, ModelError, UsageError
from gridscribe.models.clip.concepts import parse_concepts
from gridscribe.models.clip.encoder import DenseSpec
from gridscribe.models.clip.open_vocabulary import OpenVocabulary, OpenVocabularyEngine, open_vocabulary
from gridscribe.models.package import ClassInfo
from gridscribe.pipelines.alignment import calibration, segmenting
from gridscribe.pipelines.alignment.calibration import ClassOffsets, fit_offsets, read_offsets
from gridscribe.pipelines.alignment.segmenting import ColourTable, calibrate, open_segmenter
from gridscribe.pipelines.blend import taper
from gridscribe.pipelines.calibrating import Sampled
from gridscribe.pipelines.datasets import LabelledImage
from gridscribe.pipelines.lattice import Lattice, reflect
from gridscribe.pipelines.scale import ANY_GSD
from tests.test_concepts import Words
from tests.test_evaluation import LEGEND, find, write_image

PATCH, WINDOW, DIM = 8, 32, 5
SPEC = DenseSpec("torch", "cpu", "float32", 2, WINDOW, 1, "segearth")
CLASSES = tuple(ClassInfo(k, name, (k, k, k)) for k, name in enumerate(LEGEND.classes))


class FakeEncoder:
    """Tokens are drawn from the colours of their patch, class vectors from those of the window."""

    spec, embed_dim, grid, parallel = SPEC, DIM, WINDOW // PATCH, 1

    def __init__(self) -> None:
        self.closed = False
        rng = np.random.default_rng(5)
        self._mix = rng.normal(size=(3, DIM)).astype(np.float32)

    def encode(self, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert batch.shape[1:] == (3, WINDOW, WINDOW)
        patches = batch.reshape(len(batch), 3, self.grid, PATCH, self.grid, PATCH).mean(axis=(3, 5)) - 128
        tokens = patches.transpose(0, 2, 3, 1) @ self._mix
        return (tokens.mean(axis=(1, 2)) + 3).astype(np.float32), tokens.astype(np.float32)

    def close(self) -> None:
        self.closed = True


def vocabulary(seed: int = 0, **changes: Any) -> OpenVocabulary:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(4, DIM))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    known = {"name": "fake", "classes": CLASSES, "vectors": vectors, "scale": 12.0, "offsets": (0.1, -0.2, 0.05, 0.0)}
    return OpenVocabulary(**{**known, **changes})


def windows(count: int, seed: int = 0) -> np.ndarray:
    raw = np.random.default_rng(seed).uniform(0, 255, (count, 4, WINDOW, WINDOW)).astype(np.float32)
    raw[:, 3] = np.nan  # height is not looked at
    return raw


def slow_predict(window: np.ndarray, words: OpenVocabulary) -> np.ndarray:
    """One window [4, S, S], pixel by pixel in float64."""
    cls, tokens = (part[0].astype(np.float64) for part in FakeEncoder().encode(window[None, :3]))
    grid = WINDOW // PATCH

    def cosine(one: np.ndarray, other: np.ndarray) -> float:
        return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))

    def score(k: int, row: int, col: int) -> float:
        vector = words.vectors[k].astype(np.float64)
        return words.scale * (cosine(tokens[row, col], vector) - words.bias * cosine(cls, vector) + words.offsets[k])

    scores = [[[score(k, r, c) for c in range(grid)] for r in range(grid)] for k in range(len(words.classes))]
    found = np.empty((len(words.classes), WINDOW, WINDOW))
    for y in range(WINDOW):
        for x in range(WINDOW):
            place = [min(max((at + 0.5) / PATCH - 0.5, 0), grid - 1) for at in (y, x)]
            (r0, c0), (dr, dc) = [math.floor(at) for at in place], [at % 1 for at in place]
            r1, c1 = min(r0 + 1, grid - 1), min(c0 + 1, grid - 1)
            here = [
                (1 - dr) * ((1 - dc) * s[r0][c0] + dc * s[r0][c1]) + dr * ((1 - dc) * s[r1][c0] + dc * s[r1][c1])
                for s in scores
            ]
            found[:, y, x] = np.exp(np.array(here) - max(here))
    return found / found.sum(axis=0)


@pytest.mark.parametrize("bias", [0.0, 0.3])
def test_the_engine_is_the_formula_at_every_pixel(bias: float) -> None:
    words = vocabulary(bias=bias)
    given = windows(2)
    found = OpenVocabularyEngine(FakeEncoder(), words).predict(given)
    assert found.shape == (2, 4, WINDOW, WINDOW)
    assert found.dtype == np.float32
    for one, window in zip(found, given, strict=True):
        np.testing.assert_allclose(one, slow_predict(window, words), atol=2e-5)
    assert len(np.unique(found.argmax(axis=1))) > 2


def test_a_window_is_the_same_bits_in_any_batch() -> None:
    engine = OpenVocabularyEngine(FakeEncoder(), vocabulary())
    both = windows(2)
    np.testing.assert_array_equal(engine.predict(both)[1], engine.predict(both[1:])[0])


def test_an_offset_is_a_threshold_between_classes() -> None:
    """Raised far enough a class wins everywhere; lowered as far, nowhere."""
    for k in range(4):
        for value, share in ((10.0, 1.0), (-10.0, 0.0)):
            offsets = tuple(value if j == k else 0.0 for j in range(4))
            mask = OpenVocabularyEngine(FakeEncoder(), vocabulary(offsets=offsets)).predict(windows(1)).argmax(axis=1)
            assert (mask == k).mean() == share


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ModelError, match="encoded by one model"):
        OpenVocabularyEngine(FakeEncoder(), vocabulary(vectors=np.eye(4, dtype=np.float32)))
    engine = OpenVocabularyEngine(FakeEncoder(), vocabulary())
    with pytest.raises(EngineError, match="got float32"):
        engine.predict(windows(1)[:, :3])
    for wrong in ({"offsets": (0.0,)}, {"scale": 0.0}, {"bias": float("nan")}, {"classes": CLASSES[:1]}):
        with pytest.raises(UsageError):
            vocabulary(**wrong)
    with pytest.raises(UsageError, match="do not fit the classes"):
        vocabulary().calibrated(1.0, {"other": 0.0})
    encoder = FakeEncoder()
    OpenVocabularyEngine(encoder, vocabulary()).close()
    assert encoder.closed


def test_classes_come_from_a_bank_with_colours_of_their_own() -> None:
    bank = parse_concepts("tree\npond; lake\nroad\n", "x")
    words = open_vocabulary(bank, Words(), name="n", scale=7.0, colors={"pond": (1, 2, 3)})
    assert [(one.id, one.name) for one in words.classes] == [(0, "tree"), (1, "pond"), (2, "road")]
    assert words.classes[1].color == (1, 2, 3)
    assert len({one.color for one in words.classes}) == 3
    assert words.offsets == (0.0, 0.0, 0.0)
    with pytest.raises(UsageError, match="2 to 255"):
        open_vocabulary(parse_concepts("tree\n", "x"), Words(), name="n", scale=7.0)


# --- through the job's own reading and blending ---


PACKAGE: Any = SimpleNamespace(patch=PATCH, gsd=(0.1, 0.5), digest="d" * 64)
STRIDE = 24


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[LabelledImage]:
    monkeypatch.setattr(segmenting, "open_encoder", lambda *_: FakeEncoder())
    write_image(tmp_path, "plain", (70, 90), 0.2)
    write_image(tmp_path, "with-hole", (60, 50), 0.2, hole=True)
    return find(tmp_path)


def test_masks_are_blended_as_those_of_a_job(images: list[LabelledImage]) -> None:
    words = vocabulary()
    weights = np.outer(taper(WINDOW, STRIDE), taper(WINDOW, STRIDE)).astype(np.float64)
    with open_segmenter(PACKAGE, SPEC, words, STRIDE) as segmenter:
        for image in images:
            rgb = image.read().rgb
            height, width = rgb.shape[1:]
            lattice = Lattice(height, width, WINDOW, STRIDE)
            total = np.zeros((4, lattice.rows.count * STRIDE + WINDOW, lattice.cols.count * STRIDE + WINDOW))
            for k_row in range(lattice.rows.count):
                for k_col in range(lattice.cols.count):
                    at = lattice.at(k_row, k_col)
                    rows, cols = reflect(at.row, WINDOW, height), reflect(at.col, WINDOW, width)
                    window = np.full((4, WINDOW, WINDOW), np.nan, np.float32)
                    window[:3] = rgb[:, rows[:, None], cols]
                    if window[:3].any():
                        total[:, *at.slices()] += weights * slow_predict(window, words)
            ordered = np.sort(total[:, :height, :width], axis=0)
            sure = (ordered[-1] - ordered[-2] > 1e-4) & rgb.any(axis=0)
            assert sure.mean() > 0.6
            found = segmenter.mask(image)
            np.testing.assert_array_equal(found[sure], total[:, :height, :width].argmax(axis=0)[sure])
            assert (found[~rgb.any(axis=0)] == 255).all()


def test_the_stride_is_half_a_window_in_whole_patches(images: list[LabelledImage]) -> None:
    with open_segmenter(PACKAGE, SPEC, vocabulary()) as segmenter:
        assert (segmenter.windows.window, segmenter.windows.stride) == (32, 16)
    narrow: Any = SimpleNamespace(patch=32, gsd=None, digest="")
    with open_segmenter(narrow, SPEC, vocabulary()) as segmenter:
        assert segmenter.windows.stride == 32
        assert segmenter.windows.gsd == ANY_GSD  # no image is too fine or too coarse
    with pytest.raises(UsageError, match=r"stride=48: .* at most the window \(32\)"):
        open_segmenter(PACKAGE, SPEC, vocabulary(), stride=48)


def test_calibration_on_images_is_never_worse_there(images: list[LabelledImage]) -> None:
    offsets = calibrate(PACKAGE, SPEC, vocabulary(offsets=(0.0,) * 4), "c" * 64, images, stride=STRIDE)
    assert offsets.sample["images"] == [image.id for image in images]
    assert offsets.sample["miou_after"] > offsets.sample["miou_before"]
    assert calibrate(PACKAGE, SPEC, vocabulary(offsets=(0.0,) * 4), "c" * 64, images, stride=STRIDE) == offsets
    with open_segmenter(PACKAGE, SPEC, vocabulary(offsets=(0.0,) * 4), STRIDE) as segmenter:
        before = segmenter.score(images)
    with open_segmenter(PACKAGE, SPEC, vocabulary().calibrated(offsets.scale, offsets.offsets), STRIDE) as segmenter:
        after = segmenter.score(images)
    assert after.miou > before.miou  # of all pixels, of which the sample is a part


# --- fitting ---


def sample(seed: int, pixels: int = 400) -> tuple[Sampled, np.ndarray, np.ndarray]:
    """Answers whose classes are skewed: labels by scores, answers by scores and an error of each class; pixels seen 1 to 3 times.

    Also their scores [n, 4], and the number of the pixel each.
    """
    rng = np.random.default_rng(seed)
    true = rng.normal(size=(pixels, 4)) * 2
    labels = true.argmax(axis=1)
    seen = np.repeat(np.arange(pixels), rng.integers(1, 4, pixels))
    rng.shuffle(seen)
    scores = true[seen] + np.array([1.5, -1.0, 0.0, -2.0]) + rng.normal(size=(len(seen), 4)) * 0.3
    chances = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    weights = rng.uniform(0.1, 1, len(seen)).astype(np.float32)
    return Sampled(chances.astype(np.float32), seen, weights, labels[seen].astype(np.uint8)), scores, seen


def slow_miou(scores: np.ndarray, found: Sampled) -> float:
    """Of the mask of scores [n, 4], blended by hand."""
    mask, labels = {}, {}
    for pixel in range(int(found.pixels.max()) + 1):
        total = np.zeros(4)
        for k in np.flatnonzero(found.pixels == pixel):
            chances = np.exp(scores[k] - scores[k].max())
            total += found.weights[k] * chances / chances.sum()
            labels[pixel] = int(found.labels[k])
        mask[pixel] = int(total.argmax())
    ious = []
    for k in range(4):
        both = sum(mask[p] == k == labels[p] for p in mask)
        either = sum(k in (mask[p], labels[p]) for p in mask)
        if either:
            ious.append(both / either)
    return sum(ious) / len(ious)


@pytest.mark.parametrize("seed", range(4))
def test_fitted_offsets_raise_the_mean_iou_of_the_blended_sample(seed: int) -> None:
    found, scores, _ = sample(seed)
    words = vocabulary(scale=8.0, offsets=(0.3, 0.0, 0.0, -0.1))  # what the scores already hold
    fitted, facts = fit_offsets(found, words)
    before = slow_miou(scores, found)
    moved = np.array(fitted.offsets) - np.array(words.offsets)
    after = slow_miou((scores + moved * words.scale) * fitted.scale / words.scale, found)
    assert facts == {"miou_before": round(before, 4), "miou_after": round(after, 4)}
    assert before < 0.75 < 0.85 < after
    # what was put in is taken out again, up to what all classes share
    np.testing.assert_allclose(
        moved * words.scale - (moved * words.scale).mean(), [-1.875, 0.625, -0.375, 1.625], atol=0.6
    )


def test_what_is_right_already_stays() -> None:
    labels = np.arange(40, dtype=np.uint8) % 4
    chances = np.full((40, 4), 0.1, np.float32)
    chances[np.arange(40), labels] = 0.7
    found = Sampled(chances, np.arange(40), np.ones(40, np.float32), labels)
    fitted, facts = fit_offsets(found, vocabulary(offsets=(0.0,) * 4))
    assert facts == {"miou_before": 1.0, "miou_after": 1.0}
    assert fitted.offsets == (0.0,) * 4
    assert fitted.scale > vocabulary().scale  # always right: surer


def test_a_scale_that_would_make_blending_worse_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sure window and one in doubt that weighs more: right while doubt counts, wrong once every answer is sharp."""
    chances = np.array([[0.9, 0.1, 0, 0], [0.45, 0.55, 0, 0], [0.1, 0.9, 0, 0]], np.float32)
    found = Sampled(chances, np.array([0, 0, 1]), np.array([1, 1.1, 1], np.float32), np.array([0, 0, 1], np.uint8))
    monkeypatch.setattr(calibration, "fit_temperature", lambda *_: 0.01)
    fitted, facts = fit_offsets(found, vocabulary(scale=8.0, offsets=(0.0,) * 4))
    assert facts == {"miou_before": 1.0, "miou_after": 1.0}
    assert (fitted.scale, fitted.offsets) == (8.0, (0.0,) * 4)


def stored() -> ClassOffsets:
    return ClassOffsets("m" * 64, "c" * 64, "segearth", 128, 0.3, 33.5, {"tree": 0.01, "pond": -0.2}, {"images": ["a"]})


def test_offsets_are_kept_as_json_and_used_for_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "offsets.json"
    path.write_text(json.dumps(stored().to_json()))
    assert read_offsets(path, model="m" * 64, concepts="c" * 64, variant="segearth", window=128, bias=0.3) == stored()
    for name, value in (("model", "x"), ("concepts", "x"), ("variant", "sclip"), ("window", 256), ("bias", 0.0)):
        with pytest.raises(UsageError, match=f"was fitted for {name}="):
            read_offsets(path, **{name: value})


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "[]",
        "{}",
        '{"format": "gridscribe-class-offsets/1"}',
        {"format": "x"},
        {"scale": -1},
        {"offsets": {"a": None}},
    ],
)
def test_other_files_are_no_offsets(tmp_path: Path, wrong: Any) -> None:
    path = tmp_path / "offsets.json"
    path.write_text(wrong if isinstance(wrong, str) else json.dumps({**stored().to_json(), **wrong}))
    with pytest.raises(UsageError, match=r"offsets.json: "):
        read_offsets(path)


# --- what masks are compared with ---


def test_the_colour_table_gives_each_colour_its_most_frequent_class(images: list[LabelledImage]) -> None:
    table = ColourTable.of(images, 4)
    counts: dict[tuple[int, ...], list[int]] = {}
    overall = [0] * 4
    for image in images:
        scene = image.read()
        for color, label in zip(scene.rgb.reshape(3, -1).T.tolist(), scene.labels.ravel().tolist(), strict=True):
            if label < 4:
                counts.setdefault(tuple(v // 16 for v in color), [0] * 4)[label] += 1
                overall[label] += 1
    scene = images[0].read()
    found = table(scene)
    for color, given in zip(scene.rgb.reshape(3, -1).T.tolist(), found.ravel().tolist(), strict=True):
        own = counts.get(tuple(v // 16 for v in color), overall)
        assert given == own.index(max(own))
