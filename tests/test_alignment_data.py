"""What the alignment learns from: MGRS-200k's JSON as published, scenes' objects, views, and what is said of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gridscribe.errors import InputError, UsageError
from gridscribe.ingest.scenes import write_scenes
from gridscribe.pipelines.alignment import views as views_module
from gridscribe.pipelines.alignment.annotated import AnnotatedImage, AnnotatedRegion
from gridscribe.pipelines.alignment.dataset import AlignmentViews, collate_views
from gridscribe.pipelines.alignment.mgrs import read_mgrs
from gridscribe.pipelines.alignment.scene_objects import read_scenes
from gridscribe.pipelines.alignment.views import Views, in_view
from gridscribe.pipelines.alignment.wording import (
    OTHER_WORDS,
    kept_back,
    said_of,
    sentence,
    true_of,
    with_article,
    wordings,
)
from gridscribe.pipelines.region_crops import LEAST, cut, square_around
from gridscribe.values import Window

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def item(**changes: Any) -> dict[str, Any]:
    """An item as `text_info.json` has it."""
    box = {"x1": 10, "y1": 20, "x2": 74, "y2": 100, "W": 200, "H": 100}
    segment = {"bbox": box, "category": "baseball field", "category_id": 3, **changes.pop("segment", {})}
    known = {
        "global_filepath": "a/one.png",
        "global_caption": "two fields",
        "detailed_caption": "long",
        "segment": [segment],
    }
    return {**known, **changes}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "global_imgs"
    (folder / "a").mkdir(parents=True)
    Image.fromarray(np.zeros((100, 200, 3), np.uint8)).save(folder / "a" / "one.png")
    return folder


def listed(folder: Path, *items: Any) -> Path:
    path = folder.parent / "text_info.json"
    path.write_text(json.dumps(list(items)))
    return path


def test_mgrs_is_read_as_published(images: Path) -> None:
    found = read_mgrs(listed(images, item(), item(global_caption="", segment={"cap": "a dusty field"})), images)
    assert [one.caption for one in found] == ["two fields", "long"]
    assert found[0].path == (images / "a/one.png").resolve()
    assert found[0].regions == (AnnotatedRegion((0.05, 0.2, 0.37, 1.0), "baseball field"),)
    assert found[1].regions[0].caption == "a dusty field"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"global_filepath": "../secret.png"}, "leads out of"),
        ({"global_filepath": "b.png"}, "is not there"),
        ({"global_caption": None, "detailed_caption": " "}, "detailed_caption=' '"),
        ({"global_caption": None, "detailed_caption": None}, "has no caption"),
        ({"segment": {"category": 7}}, "category=7"),
        ({"segment": {"bbox": [1, 2, 3, 4]}}, "bbox=[1, 2, 3, 4]"),
        ({"segment": {"bbox": {"x1": 5, "y1": 0, "x2": 5, "y2": 9, "W": 9, "H": 9}}}, "x1 < x2 <= W"),
    ],
)
def test_what_is_wrong_with_an_item_is_named(images: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)) as error:
        read_mgrs(listed(images, item(), item(**changes)), images)
    assert "item 1" in str(error.value)


def test_other_files_are_no_listings(images: Path) -> None:
    path = listed(images)
    path.write_text("{}")
    with pytest.raises(InputError, match="holds a dict"):
        read_mgrs(path, images)
    with pytest.raises(InputError, match="as JSON"):
        read_mgrs(images / "a" / "one.png", images)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder, 2, 5, 256, 0.2)
    return folder


def test_scenes_have_their_objects(scenes: Path, tmp_path: Path) -> None:
    found = read_scenes(scenes)
    assert [one.path.name for one in found] == ["scene-5-00000_rgb.tif", "scene-5-00001_rgb.tif"]
    features = json.loads((scenes / "scene-5-00000_objects.geojson").read_text())["features"]
    assert [region.caption for region in found[0].regions] == [f["properties"]["caption"] for f in features]
    boxes = np.array([region.box for region in found[0].regions])
    np.testing.assert_allclose(boxes * 256, [f["properties"]["bbox_px"] for f in features])
    with pytest.raises(InputError, match="no generated scene"):
        read_scenes(tmp_path)


@settings(max_examples=60, deadline=None)
@given(index=st.integers(0, 10_000), crops=st.sampled_from(["objects", "random"]))
def test_views_are_functions_of_seed_and_index(scenes: Path, index: int, crops: Any) -> None:
    def views(seed: int) -> Views:
        return Views(read_scenes(scenes), 32, seed=seed, crops=crops, count=3, pixels=(40, 120))

    one, again, other = views(1)[index], views(1)[index], views(2)[index]
    assert one.text == again.text
    for name in ("image", "crops", "boxes"):
        np.testing.assert_array_equal(getattr(one, name), getattr(again, name))
    assert not np.array_equal(one.image, other.image)
    assert one.image.shape == (3, 32, 32)
    assert one.image.dtype == one.crops.dtype == np.float32
    assert len(one.crops) == len(one.boxes) <= 3
    assert (one.boxes[:, :2] < one.boxes[:, 2:]).all()
    assert 0 <= one.boxes.min(initial=0) <= one.boxes.max(initial=0) <= 1
    assert len(one.phrases) == len(one.regions) == (len(one.crops) if crops == "objects" else 0)
    for phrase, region in zip(one.phrases, one.regions, strict=True):
        assert not kept_back(phrase, region.category)


def test_boxes_without_pictures(scenes: Path) -> None:
    """The first crops alone are drawn, the same ones that are drawn of all; what is said of the others stays."""
    for index in range(20):
        many = Views(read_scenes(scenes), 32, count=4, pixels=(60, 120))[index]
        few = Views(read_scenes(scenes), 32, count=4, drawn=1, pixels=(60, 120))[index]
        np.testing.assert_array_equal(many.boxes, few.boxes)
        assert (many.text, many.phrases, many.regions) == (few.text, few.phrases, few.regions)
        np.testing.assert_array_equal(many.image, few.image)
        np.testing.assert_array_equal(many.crops[:1], few.crops)
        assert len(few.crops) == min(1, len(few.boxes))
    with pytest.raises(UsageError, match=r"drawn=5: must lie in 0..count \(4\)"):
        Views(read_scenes(scenes), 32, count=4, drawn=5)


def test_crops_without_the_view(scenes: Path) -> None:
    """Left out, the view changes nothing else."""
    for index in range(20):
        seen = Views(read_scenes(scenes), 32, count=2, pixels=(60, 120))[index]
        bare = Views(read_scenes(scenes), 32, count=2, pixels=(60, 120), whole=False)[index]
        assert bare.image.shape == (3, 0, 0)
        np.testing.assert_array_equal(seen.boxes, bare.boxes)
        assert (seen.text, seen.phrases, seen.crops.shape) == (bare.text, bare.phrases, bare.crops.shape)


def test_a_large_object_is_seen_whole(tmp_path: Path) -> None:
    """A view about an object holds all of it, however small views are, and it is the first of the view's objects."""
    path = tmp_path / "one.png"
    Image.fromarray(np.zeros((200, 300, 3), np.uint8)).save(path)
    small = [AnnotatedRegion((0.01 * k, 0.9, 0.01 * k + 0.02, 0.95), "car") for k in range(90)]
    river = AnnotatedRegion((0.1, 0.2, 0.6, 0.7), "river")
    views = Views([AnnotatedImage(path, (*small, river))], 32, count=1, even=1.0, pixels=(40, 60))
    rivers = [view for view in (views[k] for k in range(60)) if view.regions[0] is river]
    assert 15 < len(rivers) < 45  # a category in two, though one object in 91
    for view in rivers:
        x0, y0, x1, y1 = view.boxes[0]
        assert max(x1 - x0, y1 - y0) == 1  # 150 px of 150
        assert min(x1 - x0, y1 - y0) >= 2 / 3  # 100 px and a margin


def test_squares_around_objects_are_moved_and_scaled_a_little(tmp_path: Path) -> None:
    path = tmp_path / "one.png"
    Image.fromarray(np.zeros((400, 400, 3), np.uint8)).save(path)
    region = AnnotatedRegion((0.4, 0.4, 0.6, 0.6), "pond")  # the square around it is 96 px
    views = Views([AnnotatedImage(path, (region,))], 32, count=1, pixels=(390, 400), jitter=0.2)
    boxes = np.array([view.boxes[0] for view in (views[k] for k in range(60))])
    sides = (boxes[:, 2] - boxes[:, 0]) * 395
    assert sides.min() > 0.85 * 96
    assert sides.max() < 1.25 * 96
    assert sides.std() > 4
    with pytest.raises(UsageError, match=r"jitter=0.7: must lie in 0..0.5"):
        Views([AnnotatedImage(path, (region,))], 32, jitter=0.7)


def test_objects_of_a_view_are_chosen_category_by_category(tmp_path: Path) -> None:
    path = tmp_path / "one.png"
    Image.fromarray(np.zeros((200, 200, 3), np.uint8)).save(path)
    trees = [AnnotatedRegion((0.02 * k, 0.1, 0.02 * k + 0.02, 0.15), "tree") for k in range(40)]
    rest = [AnnotatedRegion((0.2 * k, 0.5, 0.2 * k + 0.1, 0.6), name) for k, name in enumerate(("car", "pond", "shed"))]
    tiny = AnnotatedRegion((0.5, 0.8, 0.501, 0.801), "manhole")  # a pixel of 200: nothing that can be seen
    views = Views([AnnotatedImage(path, (*trees, *rest, tiny))], 32, count=6, even=0.0, pixels=(200, 200))
    for index in range(20):
        names = sorted(region.category for region in views[index].regions)
        assert names == ["car", "pond", "shed", "tree", "tree", "tree"]


def test_what_is_true_of_an_object() -> None:
    tall = true_of("tall conifer", "tree")
    assert {"tall conifer", "tall evergreen tree", "conifer", "evergreen tree", "tree"} == tall
    assert "conifer" in true_of("medium-sized conifer", "tree")
    assert true_of(None, "car") == {"car", "automobile"}
    assert "red car" not in true_of("white car", "car")


@settings(max_examples=30, deadline=None)
@given(first=st.integers(0, 1000), crops=st.sampled_from(["objects", "random"]))
def test_truth_of_a_batch(scenes: Path, first: int, crops: Any) -> None:
    """Every pair of a box and a phrase, one at a time."""
    views = AlignmentViews(str(scenes), 32, crops=crops, count=3, drawn=1, pixels=(40, 200))
    chosen = [views[k] for k in range(first, first + 5)]
    given = collate_views(chosen, context=24)
    regions = [region for view in chosen for region in view.regions]
    phrases = [phrase for view in chosen for phrase in view.phrases]
    if crops == "random":
        assert given["truth"].shape == (15, 15)
        assert not given["truth"].any()
        return
    slow = [[phrase in true_of(region.caption, region.category) for phrase in phrases] for region in regions]
    np.testing.assert_array_equal(given["truth"].numpy(), np.array(slow, bool).reshape(len(regions), len(phrases)))
    assert given["truth"].diagonal().all()
    owners = [k for k, view in enumerate(chosen) for _ in view.boxes]
    assert given["owner"].tolist() == owners
    assert [owners[row] for row in given["drawn"].tolist()] == [k for k, view in enumerate(chosen) if len(view.crops)]
    assert len(given["drawn"]) == len(given["crops"])


def test_boxes_lie_where_the_crops_were_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bright square in the dark, turned with the view in all eight ways, lies in its box each time."""
    pixels = np.zeros((200, 200, 3), np.uint8)
    pixels[60:100, 110:150] = 255
    path = tmp_path / "one.png"
    Image.fromarray(pixels).save(path)
    monkeypatch.setattr(views_module, "recolour", lambda _, rgb: rgb.astype(np.float32))
    monkeypatch.setattr(views_module, "blur_or_grain", lambda _, rgb: rgb)
    region = AnnotatedRegion((0.55, 0.3, 0.75, 0.5), "roof")
    views = Views([AnnotatedImage(path, (region,), "a roof")], 200)
    places = set()
    for index in range(60):
        view = views[index]
        x0, y0, x1, y1 = (view.boxes[0] * 200).round().astype(int).tolist()
        inside = view.image[0, y0:y1, x0:x1]
        assert inside.sum() == pytest.approx(view.image[0].sum(), rel=0.02)
        assert inside.mean() == pytest.approx(255 / 1.2**2, rel=0.1)  # the box has a margin
        assert view.crops[0, 0].mean() == pytest.approx(255 / 1.2**2, rel=0.1)
        places.add((x0 > 100, y0 > 100))
    assert len(places) == 4


def test_objects_in_view_and_around_them() -> None:
    region = AnnotatedRegion((0.4, 0.4, 0.6, 0.6), "pond")
    assert [box for _, box in in_view([region], Window(0, 0, 100, 100), (100, 100))] == [Window(40, 40, 20, 20)]
    assert in_view([region], Window(0, 0, 50, 100), (100, 100)) == []
    assert [box for _, box in in_view([region], Window(45, 0, 50, 100), (100, 100))] == [Window(45, 40, 15, 20)]
    assert square_around(Window(50, 60, 4, 8)) == Window(52 - LEAST // 2, 64 - LEAST // 2, LEAST, LEAST)
    assert square_around(Window(0, 0, 100, 40)) == Window(-10, -40, 120, 120)


def test_beyond_the_image_its_edge_goes_on() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (3, 5, 6)).astype(np.uint8)
    padded = np.pad(pixels, ((0, 0), (3, 3), (3, 3)), mode="edge")
    np.testing.assert_array_equal(cut(pixels, Window(-3, -2, 8, 9)), padded[:, :8, 1:10])


def test_words_are_exchanged_whole() -> None:
    assert wordings("medium-sized deciduous tree") == [
        "medium-sized deciduous tree", "deciduous tree", "medium-sized broadleaf tree", "broadleaf tree"
    ]  # fmt: skip
    assert "dark grey automobile" in wordings("dark grey car")
    assert wordings("carport") == ["carport"]
    assert {"pool", "swimming pool"} == set(wordings("swimming pool"))
    assert not any(word.strip() == other for word, others in OTHER_WORDS.items() for other in others)


def test_some_phrases_are_kept_for_the_examination() -> None:
    colours = ("white", "black", "silver", "grey", "dark grey", "blue", "red", "beige", "green", "yellow")
    phrases = [way for colour in colours for way in wordings(f"{colour} lorry")]
    kept = [phrase for phrase in phrases if kept_back(phrase, "lorry")]
    assert 0 < len(kept) < len(phrases) / 2
    assert not any(kept_back(way, "lorry") for way in wordings("lorry"))  # a category's own words are always taught
    rng = np.random.default_rng(0)
    said = {said_of(f"{colour} lorry", "lorry", rng) for _ in range(400) for colour in colours}
    assert not said & set(kept)
    assert said >= {"lorry", "truck"}


def test_sentences() -> None:
    rng = np.random.default_rng(0)
    said = {sentence(["pond", "L-shaped house", "solar panels on a roof"], rng) for _ in range(60)}
    assert "a pond, an L-shaped house and solar panels on a roof" in said
    assert len(said) == 4
    assert sentence(["scrub"], rng).endswith("scrub")
    assert [with_article(x) for x in ("unpaved track", "U-shaped house", "nothing in particular")] == [
        "an unpaved track", "a U-shaped house", "nothing in particular",
    ]  # fmt: skip


def test_what_cannot_be_used_is_refused(scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="crops='all'"):
        Views(read_scenes(scenes), 32, crops="all")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no image has a caption"):
        Views([AnnotatedImage(tmp_path / "x.png", ())], 32)
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "grey.png")
    with pytest.raises(InputError, match="three of uint8"):
        _ = Views([AnnotatedImage(tmp_path / "grey.png", (), "grey")], 32)[0]
