"""Generated documents: their bytes, masks, tokens, geometry and files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from gridscribe.byte_pairs import byte_pairs
from gridscribe.cli import cli
from gridscribe.errors import UnreadableError, UsageError
from gridscribe.ingest.paperwork import KINDS, PageTruth, generate_document, rasterise, write_pages
from gridscribe.ingest.paperwork.bpe import pieces
from gridscribe.ingest.paperwork.fonts import families, font
from gridscribe.ingest.paperwork.geometry import drawn_geometry, identity
from gridscribe.ingest.paperwork.look import drawn_look
from gridscribe.ingest.paperwork.render import draw_sheet, page_truth
from gridscribe.ingest.paperwork.words import Wording, vocabulary

SIZE = 420.0, 595.0


def drawn(kind: str, seed: int, silent: bool = False):
    rng = np.random.default_rng(seed)
    look = drawn_look(rng, "shipped", None)
    return draw_sheet(rng, kind, SIZE, 72, look, None, silent=silent)


def test_same_seed_same_bytes_and_a_document_does_not_depend_on_the_count(tmp_path: Path):
    first = write_pages(tmp_path / "a", 2, 5)
    again = write_pages(tmp_path / "b", 3, 5, workers=2)
    assert [p.name for p in first] == [p.name for p in again][: len(first)]
    assert all(p.read_bytes() == (tmp_path / "b" / p.name).read_bytes() for p in first)
    other = generate_document(6, 0).pages[0]
    mine = generate_document(5, 0).pages[0]
    assert [w.text for w in mine.truth.words] != [w.text for w in other.truth.words]
    for path in first:
        if path.name.endswith("_tokens.json"):
            truth = PageTruth.load(path)
            mask = np.asarray(Image.open(str(path).replace("_tokens.json", "_text.png")))
            assert mask.dtype == np.uint8
            assert np.array_equal(mask, truth.text_mask())
            with Image.open(path.parent / truth.image) as image:
                image.seek(truth.frame)
                assert image.size[::-1] == truth.shape


@pytest.mark.parametrize("kind", KINDS)
def test_masks_hold_all_text_ink_and_nothing_else_is_text(kind: str):
    """What changes on the sheet when its texts are left out lies inside the masks, at every place where there is a mask."""
    for seed in (1, 2):
        sheet, bare = drawn(kind, seed), drawn(kind, seed, silent=True)
        truth = page_truth(sheet, identity(*sheet.image.size), (), kind, 0)
        mask = truth.text_mask()
        changed = (np.asarray(sheet.image) != np.asarray(bare.image)).any(axis=-1)
        assert not (changed & ~mask).any()
        assert not ((np.asarray(sheet.ink) > 0) & ~mask).any()
        assert bool(truth.tokens) == bool(mask.any()) == (kind != "blank")
        if kind != "blank":
            assert changed[mask].mean() > 0.2


def test_tokens_partition_words_and_make_up_the_text_mask():
    sheet = drawn("invoice", 4)
    truth = page_truth(
        sheet, drawn_geometry(np.random.default_rng(3), *sheet.image.size, warped=True), (), "invoice", 0
    )
    union = np.zeros(truth.shape, bool)
    for number, word in enumerate(truth.words):
        masks = [truth.token_mask(k) for k in range(word.first, word.last)]
        assert (np.sum(masks, axis=0) <= 1).all()  # no pixel twice
        assert np.array_equal(np.any(masks, axis=0), truth.word_mask(number))
        assert [t.id for t in truth.tokens[word.first : word.last]] == byte_pairs().encode(word.text)
        union |= np.any(masks, axis=0)
    assert np.array_equal(union, truth.text_mask())
    fact = truth.facts["total amount"]
    assert [truth.words[n].text for n in fact.words] == fact.value.split()


def test_warped_ink_stays_inside_warped_masks():
    sheet = drawn("letter", 7)
    for seed in range(4):
        geometry = drawn_geometry(np.random.default_rng(seed), *sheet.image.size, warped=True)
        ink = geometry.resample(np.asarray(sheet.ink), (0, 0, 0))
        mask = page_truth(sheet, geometry, (), "letter", 0).text_mask()
        assert ink[~mask].astype(float).sum() < 0.005 * ink.sum()
        points = np.random.default_rng(seed).uniform(0, 400, (50, 2))
        assert np.allclose(geometry.source(geometry.place(points)), points, atol=1e-3)
        # the slow way: a pixel of the scan looked up by itself
        row, col = 300, 200
        x, y = geometry.source(np.array([[col + 0.5, row + 0.5]]))[0] - 0.5
        c, r = int(np.floor(x)), int(np.floor(y))
        a = np.asarray(sheet.ink).astype(float)[r : r + 2, c : c + 2]
        fx, fy = x - c, y - r
        slow = (a * np.outer([1 - fy, fy], [1 - fx, fx])).sum()
        assert abs(slow - ink[row, col]) < 10


def test_rasterise_is_the_pixel_centre_rule():
    rng = np.random.default_rng(0)
    for _ in range(20):
        angle = np.sort(rng.uniform(0, 2 * np.pi, 7))
        ring = np.round(16 * (15 + 9 * np.stack([np.cos(angle), np.sin(angle)], axis=1))).astype(np.int32)
        slow = np.zeros((30, 30), bool)
        for row in range(30):
            for col in range(30):
                x, y, inside = 16 * (col + 0.5), 16 * (row + 0.5), False
                for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
                    if (y0 > y) != (y1 > y) and x < x0 + (y - y0) * (x1 - x0) / (y1 - y0):
                        inside = not inside
                slow[row, col] = inside
        assert (rasterise([ring], (30, 30)) != slow).sum() <= 1  # a centre on an edge
        assert np.array_equal(rasterise([ring[::-1]], (30, 30)), rasterise([ring], (30, 30)))


def test_pieces_are_the_tokenizers():
    for word in ("Total", "1,234.50", "don't", "Überraschung", "ΣΟΦΙΑ", "#4711/b", "(re-opened)"):
        found = pieces(word)
        assert [p.id for p in found] == byte_pairs().encode(word)
        assert [p.start for p in found] == [0.0, *(p.end for p in found[:-1])]
        assert found[-1].end == len(word)


def test_every_kind_appears_in_a_deal():
    documents = [generate_document(9, index) for index in range(12)]
    assert {d.kind for d in documents} == set(KINDS)
    for document in documents:
        for page in document.pages:
            assert page.scan.pixels.shape[:2] == page.truth.shape
            assert (page.truth.kind == "blank") == (not page.truth.tokens) == (not page.truth.text_mask().any())
            assert PageTruth.from_bytes(page.truth.to_bytes()).to_bytes() == page.truth.to_bytes()


def test_masks_on_another_grid_cover_as_much_of_it():
    truth = generate_document(9, 1).pages[0].truth
    shape = truth.height // 4, truth.width // 4
    scaled = truth.scaled_masks(shape)
    assert len(scaled) == len(truth.tokens)
    assert {mask.shape for mask in scaled} == {shape}
    areas = np.array([[mask.sum() * 16, truth.token_mask(k).sum()] for k, mask in enumerate(scaled[:80])], float)
    assert abs(areas[:, 0].sum() / areas[:, 1].sum() - 1) < 0.1


def test_the_command_writes_documents(tmp_path: Path):
    done = CliRunner().invoke(cli, ["pages", str(tmp_path / "out"), "--count", "2", "--seed", "3"])
    assert done.exit_code == 0, done.output
    assert "wrote 2 documents" in done.output
    truths = [PageTruth.load(path) for path in sorted((tmp_path / "out").glob("*_tokens.json"))]
    assert truths
    assert all((tmp_path / "out" / truth.image).is_file() for truth in truths)
    assert CliRunner().invoke(cli, ["pages", str(tmp_path / "out"), "--count", "0", "--seed", "3"]).exit_code == 2


def test_pages_of_many_words_and_of_the_faces_of_office_paper(tmp_path: Path):
    """Six words in ten are the tokenizer's own and none of ours; every standard face is drawn, and differs from the others."""
    known = set(vocabulary())
    assert len(known) > 20_000
    assert {"committee", "evidence"} <= known
    rng = np.random.default_rng(0)
    ours = {Wording(rng).word() for _ in range(20_000)}
    drawn = [Wording(rng, source="vocabulary").word() for _ in range(2000)]
    assert sum(word in known - ours for word in drawn) > 1000
    faces = families("standard")
    assert [face.name for face in faces[:5]] == [face.name for face in families()]
    cuts = {face.path(bold, italic) for face in faces[5:] for bold in (False, True) for italic in (False, True)}
    assert len(cuts) == 12
    pictures = {bytes(font(path, 40).getmask("Invoice £ 1,024")) for path in cuts}
    assert len(pictures) == 12
    write_pages(tmp_path, 2, 3, "standard", "vocabulary")
    other = generate_document(3, 1, "standard", "vocabulary")
    assert (tmp_path / f"{other.id}_p000_tokens.json").is_file()
    assert other.pages[0].truth.words != generate_document(3, 1, "standard").pages[0].truth.words


def test_bad_input():
    with pytest.raises(UsageError):
        generate_document(-1, 0)
    with pytest.raises(UsageError):
        generate_document(1, 0, "others")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="allowed are stems and vocabulary"):
        generate_document(1, 0, words="others")  # type: ignore[arg-type]
    truth = replace(generate_document(9, 0).pages[0].truth, image="x")
    with pytest.raises(UnreadableError):
        PageTruth.from_bytes(truth.to_bytes()[:-20])
