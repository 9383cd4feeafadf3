"""The viewer in a real browser at a real service: what it shows equals what the client answers, and all of it can be reached."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, Response, Route, expect

from gridscribe import Client
from gridscribe.store import open_store
from gridscribe.values import Grid
from gridscribe.workers.run import RunRequest, run_job
from tests.browser import DIST, Watched, chromium, serving, watching
from tests.embedded import aligned, write_regions
from tests.outputs import FakeImage
from tests.tiny import tiny_package, write_pair
from tests.tiny_clip import tiny_alignment
from tests.tiny_document import letter, pdf_bytes, tiny_document

MARKUP = '<img src=x onerror="document.title=1"><b>pool</b>'
TOKEN = "a-token-of-more-than-sixteen"
expect.set_options(timeout=30_000)  # the first words are waited for: they load a text tower


class Marked(FakeImage):
    """An image from a file whose name is markup."""

    @property
    def source(self) -> str:
        return MARKUP


class Place:
    """An output of three products, and a client of it."""

    def __init__(self, folder: Path) -> None:
        self.output = str(folder / "out")
        tiny_package(folder / "masks")
        words = tiny_alignment(folder / "words")
        (folder / "bank.txt").write_text("[template] a photo of {}\nroof; red roof\nwide lawn\npond\n")
        for k in range(2):
            write_pair(folder / "tiles", f"t{k}", 250, 300, seed=k, origin=(500_000 + 60 * k, 5_000_000))
        overrides: dict[str, Any] = {
            "model": str(folder / "masks"),
            "alignment": {"model": str(folder / "words"), "regions": "crop", "concepts": str(folder / "bank.txt")},
            "tokens": {"pruner": {"method": "ward", "block": 16}},
        }
        self.scenes = self._job("raster", folder / "tiles", overrides)
        named = [{"id": k, "name": f"{MARKUP} {k}", "color": [9, 99, 30 * k]} for k in range(7)]
        self.odd = write_regions(
            open_store(self.output),
            [Marked("other-pixels", Grid(60, 70)), FakeImage("bare-pixels", Grid(80, 90))],
            aligned(words.uri, words.digest) | {"classes": named},
        )
        tiny_document(folder / "pages")
        (folder / "docs").mkdir()
        letters = [letter(f"page {k}\nTotal {k}0.00") for k in range(3)]
        (folder / "docs" / "a.pdf").write_bytes(pdf_bytes(letters))
        letter("one picture", (300, 130)).save(folder / "docs" / "b.png", dpi=(72, 72))
        self.pages = self._job("documents", folder / "docs", {"model": str(folder / "pages"), "inputs": {"dpi": 72.0}})
        self.client = Client(self.output)

    def _job(self, kind: str, inputs: Path, overrides: dict[str, Any]) -> str:
        done = run_job(RunRequest(kind, (str(inputs),), self.output, executor="local", overrides=overrides))
        assert not done.failures
        return done.product


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("viewer"))


@pytest.fixture(scope="module")
def address(place: Place) -> Iterator[str]:
    with serving(place.output) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def scenes(browser: Browser, address: str, place: Place) -> Iterator[Watched]:
    with watching(browser, f"{address}/#product={place.scenes}") as watched:
        shown(watched.page, "mask")
        yield watched
        quiet(watched, address)


@pytest.fixture
def odd(browser: Browser, address: str, place: Place) -> Iterator[Watched]:
    with watching(browser, f"{address}/#product={place.odd}") as watched:
        yield watched


@pytest.fixture
def pages(browser: Browser, address: str, place: Place) -> Iterator[Watched]:
    with watching(browser, f"{address}/#product={place.pages}") as watched:
        watched.page.locator(".picture-picture").wait_for()
        yield watched
        quiet(watched, address)


def shown(page: Page, layer: str) -> Locator:
    """The tiles of a layer, once there are some with a picture."""
    tiles = page.locator(f".tiles-{layer} img.leaflet-tile-loaded[src]")
    tiles.first.wait_for()
    return tiles


def quiet(watched: Watched, address: str) -> None:
    """Nothing went wrong, nothing was asked of another host, and every answer that was waited for came."""
    assert watched.complaints == []
    assert watched.hosts() == {urlsplit(address).netloc}
    assert watched.page.get_by_role("alert").inner_text() == ""


def asked(response: Response) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(response.url).query).items()}


def under(page: Page, right: float, down: float) -> tuple[float, float]:
    """Longitude and latitude so many pixels from the centre of the map that the address tells of (web Mercator)."""
    lat, lon, zoom = (float(value) for value in parse_qs(urlsplit(page.url).fragment)["view"][0].split(","))
    pixel = 2 * math.pi / (256 * 2**zoom)
    there = math.asinh(math.tan(math.radians(lat))) - down * pixel
    return lon + math.degrees(right * pixel), math.degrees(math.atan(math.sinh(there)))


def share(picture: Locator, x: float, y: float) -> tuple[float, float]:
    """How far across and down a picture a position of the page lies, 0 to 1."""
    box = picture.bounding_box()
    assert box is not None
    return (x - box["x"]) / box["width"], (y - box["y"]) / box["height"]


def told(matches: Locator) -> list[tuple[str, str]]:
    """What screen readers hear of each result: its name and its score."""
    labels = [one.get_attribute("aria-label") or "" for one in matches.all()]
    return [(found[1], found[2]) for label in labels if (found := re.fullmatch(r"\d+\. (.+), score (-?[\d.]+)", label))]


def test_it_loads_from_the_service_alone(scenes: Watched, place: Place, record_property: pytest.RecordProperty) -> None:
    page = scenes.page
    assert page.title() == "out · gridscribe"
    shown(page, "source")
    rows = page.get_by_role("list", name="Images").get_by_role("button")
    expect(rows).to_have_count(2)
    legend = page.get_by_role("list", name="Classes").get_by_role("listitem").all_inner_texts()
    assert legend == ["other", "ground", "roof", "tree"]
    assert page.locator("path.footprint").count() == 2
    marks = page.evaluate("performance.getEntriesByType('mark').map(one => [one.name, one.startTime])")
    for name, milliseconds in marks:
        record_property(name, milliseconds)
    assert dict(marks)["first-tile-mask"] > 0


def test_a_click_answers_as_the_client_does(scenes: Watched, place: Place) -> None:
    page = scenes.page
    before = page.url
    scenes.tab("Images").get_by_role("list").get_by_role("button").nth(1).click()
    expect(page).not_to_have_url(before)
    page.wait_for_timeout(500)  # the map glides there
    box = page.get_by_role("application", name="Map").bounding_box()
    assert box is not None
    x, y = round(box["x"] + 0.45 * box["width"]), round(box["y"] + 0.55 * box["height"])
    lon, lat = under(page, x - box["x"] - box["width"] / 2, y - box["y"] - box["height"] / 2)
    with page.expect_response("**/v1/at?*") as caught:
        page.mouse.click(x, y)
    question = asked(caught.value)
    assert (float(question["lon"]), float(question["lat"])) == pytest.approx((lon, lat), abs=4e-6)
    pixel = place.client.at(float(question["lon"]), float(question["lat"]), product=place.scenes)
    assert pixel.status == "ok"
    facts = scenes.facts()
    assert facts[""] == pixel.class_name
    assert facts["Confidence"].strip() == f"{100 * (pixel.confidence or 0):.1f} %"
    assert facts["Height"] == f"{pixel.height:.2f} m"
    assert facts["Pixel"] == f"row {pixel.row}, column {pixel.col}"
    assert (facts["Image"], facts["Source"], facts["Model"]) == (pixel.image, pixel.source, pixel.model)
    assert facts.get("Region") == pixel.region
    if pixel.region is not None:
        labels = place.client.region(pixel.region, product=place.scenes).labels
        assert facts["Labels"].split("\n") == [f"{label.text} {label.score:.2f}" for label in labels]


def test_outside_of_images_it_says_why_there_is_no_answer(scenes: Watched) -> None:
    box = scenes.page.get_by_role("application", name="Map").bounding_box()
    assert box is not None
    scenes.page.mouse.click(box["x"] + 60, box["y"] + box["height"] - 100)
    assert scenes.facts()[""] == "No class"
    assert scenes.page.locator(".headline .reason").inner_text()


def test_matches_stand_in_the_clients_order_and_are_gone_to(scenes: Watched, place: Place) -> None:
    page = scenes.page
    matches = scenes.search("red roof")
    wanted = list(place.client.match("red roof", top_k=50, product=place.scenes))
    assert len(wanted) > 3
    expect(matches).to_have_count(len(wanted))
    regions = [one.get_attribute("data-region") for one in matches.locator("[data-region]").all()]
    assert regions == [match.region_id for match in wanted]
    assert [score for _, score in told(matches)] == [f"{match.score:.3f}" for match in wanted]
    expect(page.locator("path.line.found")).to_have_count(len(wanted))
    before = page.url
    matches.nth(2).click()
    expect(page.locator("path.line.chosen")).to_have_count(1)
    expect(matches.nth(2)).to_have_attribute("aria-current", "true")
    expect(page).not_to_have_url(before)
    geometry = wanted[2].geometry
    lat, lon = (float(value) for value in parse_qs(urlsplit(page.url).fragment)["view"][0].split(",")[:2])
    assert geometry is not None
    west, south, east, north = geometry.bounds
    assert (lon, lat) == pytest.approx(((west + east) / 2, (south + north) / 2), abs=2e-5)


def test_the_heat_map_is_that_of_the_words(scenes: Watched) -> None:
    switch = scenes.tab("Search").get_by_role("switch", name="Heat map of these words")
    expect(switch).to_be_disabled()
    scenes.search("red roof")
    with scenes.page.expect_response("**/v1/tiles/heatmap/**") as caught:
        switch.check()
    assert asked(caught.value)["text"] == "red roof"
    assert shown(scenes.page, "heatmap").count() > 0
    scenes.search("pond")
    shown(scenes.page, "heatmap")
    last = [request.url for request in scenes.requests if "/tiles/heatmap/" in request.url][-1]
    assert parse_qs(urlsplit(last).query)["text"] == ["pond"]
    switch.uncheck()
    expect(scenes.page.locator(".tiles-heatmap")).to_have_count(0)


def test_layers_come_and_go_and_fade(scenes: Watched) -> None:
    panel = scenes.tab("Layers")
    panel.get_by_role("checkbox", name="Mask").uncheck()
    expect(scenes.page.locator(".tiles-mask")).to_have_count(0)
    panel.get_by_role("checkbox", name="Confidence").check()
    shown(scenes.page, "confidence")
    slider = panel.get_by_role("slider", name="Opacity of confidence")
    slider.fill("25")
    expect(scenes.page.locator(".tiles-confidence")).to_have_css("opacity", "0.25")
    expect(panel.get_by_role("checkbox", name="Heat map")).to_be_disabled()


def test_similar_regions_are_the_clients(scenes: Watched, place: Place) -> None:
    match = next(place.client.match("red roof", top_k=1, product=place.scenes))
    scenes.search("red roof").first.click()
    expect(scenes.page.locator("path.line.chosen")).to_have_count(1)
    assert match.geometry is not None
    inside = match.geometry.representative_point()
    scenes.page.goto(scenes.page.url.split("#")[0] + f"#product={place.scenes}&view={inside.y},{inside.x},22")
    shown(scenes.page, "mask")
    scenes.page.get_by_role("application", name="Map").focus()
    scenes.page.keyboard.press("Enter")
    assert scenes.facts()["Region"] == match.region_id
    scenes.page.get_by_role("button", name="Find similar regions").click()
    wanted = list(place.client.similar(region=match.region_id, top_k=50, product=place.scenes))
    found = scenes.page.get_by_role("tabpanel", name="Search").locator("[data-region]")
    expect(found).to_have_count(len(wanted))
    assert [one.get_attribute("data-region") for one in found.all()] == [one.region_id for one in wanted]


def test_images_without_a_place_on_earth_open_as_pictures(odd: Watched, place: Place) -> None:
    page = odd.page
    odd.tab("Images").get_by_role("button", name=re.compile("^bare-pixels")).click()
    page.get_by_role("heading", name="bare-pixels").wait_for()
    expect(page.locator(".picture-mask")).to_be_visible()
    across, down = share(page.locator(".picture-mask"), 800, 450)
    page.mouse.click(800, 450)
    pixel = place.client.at_pixel("bare-pixels", int(80 * down), int(90 * across), product=place.odd)
    facts = odd.facts()
    assert facts[""] == pixel.class_name
    assert facts["Pixel"] == f"row {pixel.row}, column {pixel.col}"
    match = next(m for m in place.client.match("water", top_k=50, product=place.odd) if m.image != "bare-pixels")
    odd.search("water").filter(has=page.locator(f'[data-region="{match.region_id}"]')).click()
    page.get_by_role("heading", name=match.image).wait_for()
    expect(page.locator("path.line.chosen")).to_have_count(1)


def test_names_from_data_are_text(odd: Watched, place: Place) -> None:
    """Classes and a file are named with markup, and words are markup: every panel shows it as it is written."""
    page = odd.page
    classes = page.get_by_role("list", name="Classes").get_by_role("listitem")
    expect(classes.first).to_have_text(f"{MARKUP} 0")
    odd.tab("Images").get_by_role("button", name=re.compile("^other-pixels")).click()
    odd.search("<i>water</i>")
    page.get_by_role("application", name="Picture of one image").click(position={"x": 400, "y": 300})
    facts = odd.facts()
    assert facts[""].startswith(MARKUP)
    assert facts["Source"] == MARKUP
    assert page.locator("[onerror], b, i").count() == 0
    assert page.title() == "out · gridscribe"


def test_words_on_a_page_are_outlined_where_the_client_finds_them(pages: Watched, place: Place) -> None:
    page = pages.page
    matches = pages.search("Total 20")
    wanted = list(place.client.match_pages("Total 20", top_k=50, product=place.pages))
    assert [score for _, score in told(matches)] == [f"{match.score:.3f}" for match in wanted]
    assert [name for name, _ in told(matches)] == [f"{match.source}, page {match.page + 1}" for match in wanted]
    best = wanted[0]
    page.get_by_role("heading", name=best.source).wait_for()
    places = place.client.page(best.document, best.page, product=place.pages).match("Total 20", 5)
    expect(page.locator("path.line.found")).to_have_count(len(places))
    expect(page.locator("path.line.chosen")).to_have_count(1)
    panel = page.get_by_role("tabpanel", name="Search")
    panel.get_by_role("radio", name="This page").check()
    here = pages.search("Total")
    places = place.client.page(best.document, best.page, product=place.pages).match("Total", 20)
    assert [score for _, score in told(here)] == [f"{match.score:.3f}" for match in places]
    expect(page.locator("path.line.found")).to_have_count(len(places))


def test_a_click_on_a_page_answers_with_its_token(pages: Watched, place: Place) -> None:
    with pages.page.expect_response(re.compile(r"/v1/page/at\?.*x=\d+\.\d")) as caught:
        pages.page.mouse.click(800, 450)
    question = asked(caught.value)
    page = place.client.page(question["document"], int(question["number"]), product=place.pages)
    across, down = share(pages.page.locator(".picture-picture"), 800, 450)
    token = page.at(across * page.width, down * page.height)
    facts = pages.facts()
    assert facts[""] == f"Token {token.state}"
    assert (facts["Token"], facts["Cell"]) == (str(token.index), f"row {token.row}, column {token.col}")
    assert facts["Box"] == f"{', '.join(f'{value:.1f}' for value in token.box)} pt"


def test_pages_are_turned_and_their_tokens_and_text_laid_over(pages: Watched, place: Place) -> None:
    page = pages.page
    pages.tab("Documents").get_by_role("button", name=re.compile(r"^a\.pdf")).click()
    page.get_by_role("button", name="Next page").click()
    expect(page.get_by_label("Page", exact=True).and_(page.get_by_role("combobox"))).to_have_value("1")
    panel = pages.tab("Layers")
    panel.get_by_role("checkbox", name="Kept tokens").check()
    tokens = page.locator(".picture-tokens")
    expect(tokens).to_be_visible()
    document = next(
        match.document for match in place.client.match_pages("page", product=place.pages) if match.source == "a.pdf"
    )
    there = place.client.page(document, 1, product=place.pages)
    assert tokens.evaluate("one => [one.naturalWidth, one.naturalHeight]") == [there.grid_w, there.grid_h]
    cell = there.at(0, 0).box
    sizes = page.locator(".picture-picture, .picture-tokens")
    (printed, laid) = (one.bounding_box() for one in (sizes.first, sizes.last))
    assert printed is not None
    assert laid is not None
    assert laid["width"] / printed["width"] == pytest.approx(there.grid_w * cell[2] / there.width, rel=0.004)
    text = panel.get_by_role("checkbox", name="Text mask")
    if there.text_mask is None:
        expect(text).to_be_disabled()
    else:
        text.check()
        expect(page.locator(".picture-text")).to_be_visible()


def test_another_product_is_chosen_and_a_link_leads_back(scenes: Watched, browser: Browser, place: Place) -> None:
    page = scenes.page
    scenes.search("red roof")
    scenes.tab("Search").get_by_role("switch").check()
    shown(page, "heatmap")
    link = page.url
    page.get_by_label("Product").select_option(place.pages)
    page.get_by_role("tab", name="Documents").wait_for()
    with watching(browser, link) as again:
        shown(again.page, "heatmap")
        expect(again.page.get_by_role("searchbox", name="Words")).to_have_value("red roof")
        assert again.page.url == link


def test_the_token_is_asked_for_and_sent_with_everything(browser: Browser, place: Place) -> None:
    with serving(place.output, TOKEN) as address, watching(browser, f"{address}/#product={place.scenes}") as watched:
        page = watched.page
        dialog = page.get_by_role("dialog", name="Access token")
        dialog.get_by_label("Token").fill("not the right one")
        dialog.get_by_label("Token").press("Enter")
        expect(dialog).to_contain_text("did not accept")
        dialog.get_by_label("Token").fill(TOKEN)
        dialog.get_by_role("button", name="Continue").click()
        shown(page, "mask")
        assert page.get_by_role("dialog").count() == 0
        assert not [request.url for request in watched.requests if TOKEN in request.url]
        tiles = [request for request in watched.requests if "/v1/tiles/" in request.url]
        assert {request.headers.get("authorization") for request in tiles} == {f"Bearer {TOKEN}"}
        page.reload()
        shown(page, "mask")  # it is kept for this tab
        assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]


def test_errors_of_the_service_are_told_in_words(scenes: Watched) -> None:
    page = scenes.page

    def refuse(route: Route) -> None:
        route.fulfill(status=503, json={"error": {"type": "Busy", "message": "too much is asked at once: try again"}})

    page.route("**/v1/match?*", refuse)
    panel = scenes.tab("Search")
    panel.get_by_role("searchbox", name="Words").fill("red roof")
    panel.get_by_role("button", name="Search").click()
    expect(page.get_by_role("alert")).to_contain_text("too much is asked at once: try again")
    page.get_by_role("button", name="Dismiss").click()
    page.unroute("**/v1/match?*")
    assert scenes.complaints.pop().startswith("Failed to load resource")  # the browser's own line about the 503


def test_a_keyboard_is_enough(scenes: Watched, place: Place) -> None:
    page = scenes.page
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the map")).to_be_focused()
    page.keyboard.press("Enter")
    view = page.get_by_role("application", name="Map")
    expect(view).to_be_focused()
    expect(page.locator(".crosshair").first).to_be_visible()
    where = page.url
    page.keyboard.press("ArrowRight")
    expect(page).not_to_have_url(where)
    page.keyboard.press("ArrowLeft")
    page.wait_for_timeout(500)  # the map glides to a stop
    with page.expect_response("**/v1/at?*") as caught:
        page.keyboard.press("Enter")
    question = asked(caught.value)
    pixel = place.client.at(float(question["lon"]), float(question["lat"]), product=place.scenes)
    assert scenes.facts()[""] == (pixel.class_name or "No class")
    expect(page.get_by_role("status").first).to_contain_text(pixel.class_name or "No class")
    for _ in range(30):
        page.keyboard.press("Shift+Tab")
        if page.evaluate("document.activeElement.getAttribute('role')") == "tab":
            break
    expect(page.get_by_role("tab", name="Answer")).to_be_focused()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("tab", name="Search")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.type("red roof")
    page.keyboard.press("Enter")
    results = page.get_by_role("tabpanel", name="Search").get_by_role("list").get_by_role("button")
    expect(results.first).to_be_visible()
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('ol') !== null"):
            break
    page.keyboard.press("Enter")
    expect(results.first).to_have_attribute("aria-current", "true")


@pytest.mark.parametrize("kind", ["scenes", "pages"])
def test_every_control_has_a_name(kind: str, request: pytest.FixtureRequest) -> None:
    """As a screen reader is told of them, on every tab."""
    watched: Watched = request.getfixturevalue(kind)
    session = watched.page.context.new_cdp_session(watched.page)
    kinds = {
        "button",
        "checkbox",
        "combobox",
        "searchbox",
        "slider",
        "switch",
        "radio",
        "tab",
        "link",
        "application",
        "tabpanel",
        "list",
    }
    seen = set()
    for tab in watched.page.get_by_role("tab").all_inner_texts():
        watched.tab(tab)
        for node in session.send("Accessibility.getFullAXTree")["nodes"]:
            role = node.get("role", {}).get("value")
            if role in kinds and not node.get("ignored"):
                seen.add(role)
                named = node.get("name", {}).get("value") or role == "list"
                assert named, f"tab {tab}: a {role} has no name: {node}"
    assert {"button", "checkbox", "combobox", "searchbox", "slider", "tab", "application"} <= seen
    assert watched.page.locator("html[lang=en]").count() == 1
    assert watched.page.get_by_role("heading", level=1).count() == 1


def test_jobs_are_told_of(scenes: Watched, place: Place) -> None:
    cards = scenes.tab("Jobs").get_by_role("article")
    expect(cards).to_have_count(2)
    text = "\n".join(cards.all_inner_texts())
    assert place.scenes in text
    assert "2 / 2" in text


def test_what_is_built_names_no_registry_and_exact_versions() -> None:
    folder = DIST.parent
    package, lock = (json.loads((folder / name).read_text()) for name in ("package.json", "package-lock.json"))
    versions = {**package["dependencies"], **package["devDependencies"]}
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in versions.values())
    assert "resolved" not in {key for entry in lock["packages"].values() for key in entry}
    assert "Agafonkin" in (DIST / "leaflet.LICENSE.txt").read_text()
    page = (DIST / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=", page)
    assert set(re.findall(r'(?:src|href)="([^"#]+)', page)) == set(re.findall(r'"(/viewer/[^"]+)"', page))
