"""Examination of an alignment: measures against slow references, phrases training never says, a stub of known scores."""

from __future__ import annotations

import json
import re
from itertools import pairwise, permutations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.transform import Affine

from gridscribe.cli.evaluate import command
from gridscribe.errors import QueryError, UsageError
from gridscribe.ingest.scenes import write_scenes
from gridscribe.models.clip.concepts import concepts_path, parse_concepts
from gridscribe.models.clip.converting import package_clip
from gridscribe.models.clip.encoder import DenseSpec
from gridscribe.models.package_files import stated_format
from gridscribe.pipelines.alignment import evaluation, segmenting
from gridscribe.pipelines.alignment.annotated import AnnotatedImage
from gridscribe.pipelines.alignment.baselines import histogram, learn
from gridscribe.pipelines.alignment.classifying import classification, guessing, shuffled
from gridscribe.pipelines.alignment.evaluation import Examination, evaluate_alignment
from gridscribe.pipelines.alignment.evaluation_report import markdown
from gridscribe.pipelines.alignment.objects import read_objects
from gridscribe.pipelines.alignment.phrases import category_bank, concept_named, phrases_of, said_in_training
from gridscribe.pipelines.alignment.ranking import average_precision, hit_within, retrieval
from gridscribe.pipelines.alignment.scene_objects import read_scenes
from gridscribe.pipelines.alignment.views import Views
from gridscribe.pipelines.alignment.wording import SENTENCES, with_article, wordings
from gridscribe.pipelines.region_crops import crop_of
from gridscribe.values import Window
from tests.tiny_clip import tiny_clip

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRIDSCRIBE_CACHE", str(tmp_path_factory.getbasetemp() / "graphs-of-alignment-evaluation"))


# --- ranking ---


def all_orders(scores: list[int], right: list[bool]) -> list[list[bool]]:
    """Every order of the right answers that the scores allow, each as likely."""
    count = len(scores)
    return [
        [right[k] for k in order]
        for order in permutations(range(count))
        if all(scores[a] >= scores[b] for a, b in pairwise(order))
    ]


ranked = st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=6).filter(
    lambda rows: any(right for _, right in rows)
)


@settings(max_examples=80, deadline=None)
@given(ranked)
def test_measures_are_means_over_all_orders_of_what_is_tied(rows: list[tuple[int, bool]]) -> None:
    scores, right = [one for one, _ in rows], [one for _, one in rows]
    orders = all_orders(scores, right)
    given_scores, given_right = np.array(scores, float), np.array(right)
    for k in range(1, 8):
        wanted = np.mean([any(order[:k]) for order in orders])
        assert hit_within(given_scores, given_right, k) == pytest.approx(wanted)
    precisions = []
    for order in orders:
        found = [sum(order[: i + 1]) / (i + 1) for i, hit in enumerate(order) if hit]
        precisions.append(sum(found) / len(found))
    assert average_precision(given_scores, given_right) == pytest.approx(np.mean(precisions))


def test_no_score_at_all_is_chance() -> None:
    rng = np.random.default_rng(0)
    right = np.arange(50) < 7
    drawn = [rng.permutation(right) for _ in range(4000)]
    assert hit_within(np.zeros(50), right, 5) == pytest.approx(np.mean([one[:5].any() for one in drawn]), abs=0.02)
    precision = [np.mean(np.arange(1, 8) / (np.flatnonzero(one) + 1)) for one in drawn]
    assert average_precision(np.zeros(50), right) == pytest.approx(np.mean(precision), abs=0.01)


def test_what_cannot_be_ranked_is_refused() -> None:
    for scores, right in (([1.0, 2.0], [False, False]), ([1.0], [True, False]), ([float("nan"), 1.0], [True, False])):
        with pytest.raises(ValueError, match=r"score|right"):
            average_precision(np.array(scores), np.array(right))
    assert retrieval([]).to_json()["queries"] == 0


def test_classification_counts_object_by_object() -> None:
    rng = np.random.default_rng(1)
    scores, truth = (
        rng.integers(0, 6, (60, 9)).astype(float),
        rng.integers(0, 7, 60),
    )  # ties; two categories never occur
    hits: dict[int, dict[int, list[bool]]] = {1: {}, 5: {}}
    for row, own in zip(scores, truth, strict=True):
        order = sorted(range(9), key=lambda k: (-row[k], k))
        for top, by_category in hits.items():
            by_category.setdefault(int(own), []).append(own in order[:top])
    found = classification(scores, truth)
    for top, overall, balanced in ((1, found.top1, found.balanced_top1), (5, found.top5, found.balanced_top5)):
        own = hits[top]
        assert overall == pytest.approx(sum(sum(one) for one in own.values()) / 60)
        assert balanced == pytest.approx(sum(sum(one) / len(one) for one in own.values()) / len(own))
    assert guessing(truth, 9).top5 == pytest.approx(5 / 9)
    assert guessing(truth, 3).top5 == 1


def test_shuffled_truth_is_chance_however_good_the_scores() -> None:
    rng = np.random.default_rng(2)
    truth = np.repeat(np.arange(5), [400, 50, 20, 20, 10])
    scores = np.eye(5)[truth]
    assert classification(scores, truth).top1 == 1
    found = shuffled(scores, truth, [rng.permutation(len(truth)) for _ in range(40)])
    assert found.balanced_top1 == pytest.approx(0.2, abs=0.02)
    assert found.top1 == pytest.approx(float(((np.bincount(truth) / 500) ** 2).sum()), abs=0.02)


# --- phrases ---


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(Trained on, held out)."""
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder / "train", 2, 5, 256, 0.25)
    write_scenes(folder / "held", 1, 6, 256, 0.25)
    return folder / "train", folder / "held"


@settings(max_examples=100, deadline=None)
@given(index=st.integers(0, 100_000))
def test_phrases_kept_back_are_never_said_in_training(scenes: tuple[Path, Path], index: int) -> None:
    train, _ = scenes
    images = read_scenes(train)
    named = [(region.category, region.caption or "") for image in images for region in image.regions]
    said = said_in_training(named)
    never = {with_article(one.text) for one in phrases_of(named, said) if one.group in ("synonym", "combination")}
    assert len(never) > 3
    view = Views(images, 16, seed=3, count=4)[index]
    for sentence in SENTENCES:
        match = re.fullmatch(re.escape(sentence).replace(r"\{\}", "(.*)"), view.text)
        if match:
            break
    assert match
    parts = re.split(", | and ", match[1])
    assert parts
    assert not never & set(parts)
    for part in parts:
        assert part in {with_article(one) for one in said} | {"nothing in particular"}
    assert not {with_article(one) for one in view.phrases} & never


def test_phrases_are_told_apart_by_what_training_says() -> None:
    named = [("van", "yellow van"), ("car", "white car"), ("tree", "medium-sized conifer"), ("road", "street")]
    said = said_in_training(named)
    found = {one.text: one for one in phrases_of(named, said)}
    assert found["van"].group == found["road"].group == "category"
    assert found["white car"].group == "seen"
    assert found["yellow van"].group == "combination"  # kept back, and there are no other words for it
    assert "conifer" not in found  # true of conifers of other sizes too
    assert found["road"].right == {("road", "street")}
    assert found["road"].captions == {"street"}
    assert {one.group for one in phrases_of(named, frozenset())} == {"category", "combination"}
    less = said - {"white car"}
    assert {one.text: one.group for one in phrases_of(named, less)}["white car"] == "synonym"


def test_a_phrase_names_the_concept_of_its_longest_word() -> None:
    bank = parse_concepts("building; house; row of houses\nroad; car park\ntree; house plant\n", "x")
    for phrase, wanted in (
        ("L-shaped house with a grey roof", 0),
        ("a HOUSE PLANT", 2),
        ("car park", 1),
        ("treehouse", None),
        ("white car", None),
    ):
        assert concept_named(phrase, bank) == wanted
    assert category_bank(["tree", "lorry", "tree"]).concepts[0].words == ("lorry", "truck")


# --- objects and baselines ---


def test_objects_are_those_of_the_files_with_their_crops_and_classes(scenes: tuple[Path, Path]) -> None:
    train, _ = scenes
    found = read_objects(train)
    names = sorted(path.name for path in train.glob("*_rgb.tif"))
    features = [
        feature
        for name in names
        for feature in json.loads((train / name.replace("_rgb.tif", "_objects.geojson")).read_text())["features"]
    ]
    assert found.captions == tuple(one["properties"]["caption"] for one in features)
    classes = dict(zip(found.categories, found.mask_classes().tolist(), strict=True))
    assert {classes[name] for name in ("building",) if name in classes} <= {3}
    trees = [k for name, k in zip(found.categories, found.mask_classes().tolist(), strict=True) if name == "tree"]
    assert np.mean(np.array(trees) == 6) > 0.8
    with rasterio.open(train / names[0]) as file:
        pixels = file.read()
    x0, y0, x1, y1 = features[0]["properties"]["bbox_px"]
    box = Window(int(y0), int(x0), int(np.ceil(y1)) - int(y0), int(np.ceil(x1)) - int(x0))
    np.testing.assert_array_equal(next(found.crops(24)), crop_of(pixels, box, 24))
    drawn = found.sample(2, 7)
    assert drawn == found.sample(2, 7)
    assert drawn != found.sample(2, 8)
    assert max(drawn.captions.count(one) for one in set(found.captions)) == 2
    assert set(drawn.captions) == set(found.captions)
    assert len(list(drawn.crops(8))) == len(drawn)


def test_histograms_are_square_roots_of_shares() -> None:
    crop = np.zeros((3, 4, 4), np.uint8)
    crop[0, :2] = 255  # half red, half black
    found = histogram(crop)
    assert np.linalg.norm(found) == pytest.approx(1)
    assert sorted(found[found > 0].tolist()) == pytest.approx([0.5] * 4)
    white = histogram(np.full((3, 4, 4), 255, np.uint8))
    assert found @ white == 0


# --- a stub whose answers are known ---


HELD = {
    ("car", "white car"): 4,
    ("car", "blue car"): 3,
    ("van", "yellow van"): 3,
    ("van", "white van"): 2,
    ("tree", "small conifer"): 9,
    ("swimming pool", "round swimming pool"): 3,
}
KEYS = list(HELD)
CATEGORIES = sorted({category for category, _ in KEYS})
DIM = len(CATEGORIES) + len(KEYS) + 7
SIDE, EDGE = 32, 320
CLASS_OF = {"car": 0, "van": 0, "tree": 6, "swimming pool": 4}
GROUND = 1


def write_stub_scene(folder: Path, name: str) -> None:
    """Objects far apart, each of one colour that says what it is."""
    folder.mkdir(parents=True, exist_ok=True)
    labels = np.full((EDGE, EDGE), GROUND, np.uint8)
    rgb = np.full((3, EDGE, EDGE), 255, np.uint8)
    features = []
    things = [key for key, count in HELD.items() for _ in range(count)]
    transform = Affine(0.25, 0, 500_000, 0, -0.25, 5_000_000)
    import pyproj

    def place(x: float, y: float) -> tuple[float, float]:
        return transform.a * x + transform.c, transform.e * y + transform.f

    to_lonlat = pyproj.Transformer.from_crs("EPSG:32631", "OGC:CRS84", always_xy=True)
    for k, (category, caption) in enumerate(things):
        row, col = 64 * (k // 5) + 16, 64 * (k % 5) + 16
        box = slice(row, row + 24), slice(col, col + 24)
        rgb[:, *box] = np.array([10 + KEYS.index((category, caption)), CLASS_OF[category], 0])[:, None, None]
        labels[box] = CLASS_OF[category]
        corners = [(col, row), (col + 24, row), (col + 24, row + 24), (col, row + 24), (col, row)]
        ring = [to_lonlat.transform(*(place(*corner))) for corner in corners]
        features.append(
            {
                "type": "Feature",
                "properties": {"category": category, "caption": caption, "bbox_px": [col, row, col + 24, row + 24]},
                "geometry": {"type": "Polygon", "coordinates": [ring]},
            }
        )
    profile = {"driver": "GTiff", "width": EDGE, "height": EDGE, "crs": "EPSG:32631", "transform": transform}
    for kind, bands in (
        ("rgb", rgb),
        ("labels", labels[None]),
        ("ndsm", np.zeros((1, EDGE, EDGE), np.float32)),
    ):
        with rasterio.open(folder / f"{name}_{kind}.tif", "w", count=len(bands), dtype=bands.dtype, **profile) as file:
            file.write(bands)
    (folder / f"{name}_objects.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))


def unit(number: int) -> np.ndarray:
    return np.eye(DIM, dtype=np.float32)[number]


def of_category(name: str) -> np.ndarray:
    return unit(CATEGORIES.index(name))


def of_caption(key: tuple[str, str]) -> np.ndarray:
    return unit(len(CATEGORIES) + KEYS.index(key))


class Seeing:
    """Reads colours: knows captions, takes vans for cars, and sees the class of every patch."""

    spec = DenseSpec("torch", "cpu", "float32", 3, SIDE, 1, "segearth")
    embed_dim, grid, parallel = DIM, SIDE // 8, 2

    def encode(self, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        cls = []
        for window in batch:
            number = int(window[0, SIDE // 2, SIDE // 2]) - 10
            if not 0 <= number < len(KEYS):
                cls.append(np.zeros(DIM, np.float32))
                continue
            category, caption = KEYS[number]
            cls.append(of_category("car" if category == "van" else category) + of_caption((category, caption)))
        # the colour at each patch's centre
        seen = batch[:, 1, 4::8, 4::8].astype(int)
        tokens = np.eye(DIM, dtype=np.float32)[DIM - 7 + np.where(seen > 6, GROUND, seen)]
        return np.array(cls, np.float32), tokens

    def close(self) -> None: ...


class Reading:
    """A phrase's vector: its category, and the captions that it is a wording of; of a class's words, the class."""

    def __init__(self, _: Any) -> None:
        self._classes = evaluation.read_concepts(concepts_path("gamus"))

    def embed(self, phrases: list[str], templates: Any = ("{}",)) -> np.ndarray:
        rows = []
        for phrase in phrases:
            row = np.full(DIM, 1e-6, np.float32)
            for category, caption in KEYS:
                if phrase in wordings(category):
                    row += of_category(category)
                elif phrase in wordings(caption):
                    row += of_category(category) + of_caption((category, caption))
            for k, one in enumerate(self._classes.concepts):
                if phrase in one.words:
                    row += 10 * unit(DIM - 7 + k)
            rows.append(row / np.linalg.norm(row))
        return np.array(rows, np.float32)


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Examination:
    for folder in ("held", "train"):
        write_stub_scene(tmp_path / folder, f"scene-{folder}-0")
    for module in (evaluation, segmenting):
        monkeypatch.setattr(module, "open_encoder", lambda *_: Seeing())
        monkeypatch.setattr(module, "resolve_encoder", lambda *_, **__: Seeing.spec, raising=False)
    monkeypatch.setattr(evaluation, "TextEncoder", Reading)
    return Examination(tmp_path / "held", tmp_path / "train", concepts_path("gamus"), bias=0.0, views=8)


PACKAGE: Any = SimpleNamespace(name="stub", digest="d" * 64, source={}, logit_scale=30.0, patch=8, gsd=None)


def test_known_vectors_have_known_scores(stub: Examination) -> None:
    found = evaluate_alignment(PACKAGE, stub)
    count, vans = sum(HELD.values()), 5
    model = found.classification["model"]
    assert model.objects == count
    assert model.top1 == pytest.approx(1 - vans / count)
    assert model.balanced_top1 == pytest.approx(3 / 4)
    assert found.classification["chance"].top1 == 1 / 4
    assert found.classification["most frequent category"].top1 == 9 / count
    # cars and vans are of one class of the mask, seven of the twelve are cars
    assert found.classification["class-name lookup"].top1 == pytest.approx(1 - vans / count)
    assert found.classification["colour histogram"].top1 > 0.5
    groups = found.facts["phrases"]
    assert groups["yellow van"] == "combination"
    for group in ("seen", "combination"):
        assert found.retrieval[group]["model"].mean_average_precision == pytest.approx(1)
        assert found.retrieval[group]["model"].recall == {1: 1.0, 5: 1.0, 10: 1.0}
    assert found.retrieval["combination"]["true category"].mean_average_precision < 1
    # "van" finds no van, "car" finds cars and vans alike, the others what they say
    by_name = found.retrieval["category"]["model"].mean_average_precision
    assert 0.5 < by_name < 1
    assert found.retrieval["category"]["true category"].mean_average_precision == 1
    calibrated = found.segmentation.scores["calibrated"]
    assert calibrated.confusion.sum() == EDGE * EDGE
    assert calibrated.accuracy > 0.9
    assert found.segmentation.shuffled < 0.2 < 0.7 < calibrated.miou
    assert found.segmentation.scores["chance"].accuracy == pytest.approx(1 / 7, abs=1e-3)
    assert found.segmentation.scores["one class everywhere"].iou[GROUND] == pytest.approx(1 - count * 24 * 24 / EDGE**2)


def test_with_shuffled_captions_everything_falls_to_chance(stub: Examination) -> None:
    found = evaluate_alignment(PACKAGE, stub)
    mixed, chance = found.classification["shuffled captions"], found.classification["chance"]
    assert mixed.balanced_top1 == pytest.approx(chance.balanced_top1, abs=0.08)
    for ways in (*found.retrieval.values(), *found.views.values()):
        mixed, chance = ways["shuffled captions"], ways["chance"]
        assert mixed.mean_average_precision == pytest.approx(chance.mean_average_precision, abs=0.1)
    for group in ("seen", "combination"):
        ways = found.retrieval[group]
        assert ways["model"].mean_average_precision > 2 * ways["shuffled captions"].mean_average_precision


def test_an_examination_is_the_same_each_time_and_says_all_in_its_table(stub: Examination) -> None:
    one, other = evaluate_alignment(PACKAGE, stub), evaluate_alignment(PACKAGE, stub)
    assert json.dumps(one.to_json()) == json.dumps(other.to_json())
    text = markdown(one)
    for said in (
        "24 objects of 1 held-out scenes, 4 categories",
        "| class-name lookup |",
        "| true category |",
        "caption to view",
    ):
        assert said in text
    assert f"| model | {one.classification['model'].top1:.3f} |" in text
    assert f"| calibrated | {one.segmentation.scores['calibrated'].miou_without_other:.3f} |" in text
    assert json.loads(json.dumps(one.to_json()))["segmentation"]["offsets"]["offsets"].keys() == {
        "other",
        "ground",
        "low vegetation",
        "building",
        "water",
        "road",
        "tree",
    }


def test_what_cannot_be_examined_is_refused(stub: Examination, tmp_path: Path) -> None:
    own = tmp_path / "own.txt"
    own.write_text("tree\nhouse\n")
    with pytest.raises(UsageError, match=r"names the classes \['tree', 'house'\]"):
        evaluate_alignment(PACKAGE, Examination(stub.held_out, stub.train, own))
    with pytest.raises(UsageError, match="both held out and trained on"):
        evaluate_alignment(PACKAGE, Examination(stub.held_out, stub.held_out, stub.classes))
    with pytest.raises(UsageError, match="views=1"):
        Examination(stub.held_out, stub.train, stub.classes, views=1)


def test_views_whose_captions_are_too_long_are_passed_over(stub: Examination, monkeypatch: pytest.MonkeyPatch) -> None:
    class Short(Reading):
        least = "satellite"

        def embed(self, phrases: list[str], templates: Any = ("{}",)) -> np.ndarray:
            if templates == ("{}",) and self.least in phrases[0]:
                raise QueryError("too long")
            return super().embed(phrases, templates)

    monkeypatch.setattr(evaluation, "TextEncoder", Short)
    found = evaluate_alignment(PACKAGE, stub)
    assert found.facts["data"]["views"] == 8
    assert found.facts["data"]["views_passed_over"] > 0
    assert found.views["view to caption"]["model"].queries == 8
    monkeypatch.setattr(Short, "least", "a")
    with pytest.raises(UsageError, match="too long for the text tower"):
        evaluate_alignment(PACKAGE, stub)


def test_a_category_that_training_lacks_is_the_last_that_baselines_choose(stub: Examination) -> None:
    learnt = learn(read_objects(stub.train))
    assert learnt.most_frequent == "tree"
    assert learnt.of_class[0] == {"car": 7.0, "van": 5.0}
    assert set(learnt.by_caption) == {caption for _, caption in KEYS}


def test_views_can_be_plain(scenes: tuple[Path, Path]) -> None:
    images: list[AnnotatedImage] = read_scenes(scenes[0])
    plain = Views(images, 256, seed=0, count=0, plain=True, pixels=(256, 256))[3]
    whole = []
    for image in images:
        with rasterio.open(image.path) as file:
            whole.append(file.read().astype(np.float32))
    assert any(np.array_equal(plain.image, one) for one in whole)


# --- the command ---


def test_the_command_on_a_real_package(scenes: tuple[Path, Path], tmp_path: Path) -> None:
    torch.save(tiny_clip().state_dict(), tmp_path / "tiny.pt")
    package_clip(tmp_path / "tiny.pt", tmp_path / "package", quick_gelu=True, gsd=(0.1, 0.5))
    assert stated_format(tmp_path / "package") == "gridscribe-alignment/1"
    assert stated_format("scenes") == "gridscribe-model/1"
    assert stated_format("nosuch") is None
    assert stated_format(tmp_path) is None
    train, held = map(str, scenes)
    arguments = [str(tmp_path / "package"), "--data", held, "--train-data", train]
    done = CliRunner().invoke(command, [*arguments, "--output", str(tmp_path / "out")], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / "evaluation.md").read_text() in done.stdout
    report = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert report["segmentation"]["offsets"] == json.loads((tmp_path / "out" / "offsets.json").read_text())
    offsets = ["--offsets", str(tmp_path / "out" / "offsets.json"), "--json"]
    again = CliRunner().invoke(command, [*arguments, *offsets], catch_exceptions=False)
    assert json.loads(again.stdout.splitlines()[-1]) == report
    for wrong, message in (
        (["--kind", "gamus"], "--kind: not for a model that aligns"),
        (["--fit-temperature"], "--fit-temperature: not for a model that aligns"),
        (["--classes", "nosuch"], "'nosuch'"),
        ([*offsets, "--variant", "maskclip"], "was fitted for variant='segearth'"),
    ):
        with pytest.raises(UsageError, match=message):
            CliRunner().invoke(command, [*arguments, *wrong], catch_exceptions=False)
    with pytest.raises(UsageError, match="--train-data: needed"):
        CliRunner().invoke(command, arguments[:3], catch_exceptions=False)
    with pytest.raises(UsageError, match="--train-data: not for a segmentation model"):
        CliRunner().invoke(command, ["scenes", *arguments[1:]], catch_exceptions=False)
