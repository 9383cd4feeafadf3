"""Page ingest: every format and mode upright on white, counted once, and what is damaged named; real and hostile files."""

from __future__ import annotations

import os
import signal
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gridscribe.errors import ItemTimeoutError, RefusedError, UnreadableError, UsageError
from gridscribe.ingest.pages.discover import discover_pages
from gridscribe.ingest.pages.formats import look, render
from gridscribe.ingest.pages.reader import PageReader, local_copy
from gridscribe.ingest.pages.values import PageOptions, PageShape
from tests.tiny_document import letter, pdf_bytes, quadrants

AS_STORED = PageOptions(dpi=72.0)
REAL = Path(__file__).parents[2] / "shared" / "data" / "documents"
CORNERS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "black": (0, 0, 0)}


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **({"dpi": (72, 72)} | options))  # type: ignore[arg-type]
    return path


def corners(page: np.ndarray) -> list[str]:
    """The colours of the upper left, upper right, lower left and lower right quarter."""
    height, width = page.shape[:2]
    found = []
    for r, c in ((0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.75)):
        pixel = page[int(height * r), int(width * c)].astype(int)
        found.append(min(CORNERS, key=lambda name: np.abs(pixel - CORNERS[name]).sum()))
    return found


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("a.png", "RGB"), ("a.png", "L"), ("a.png", "1"), ("a.png", "P"), ("a.png", "RGBA"), ("a.png", "LA"), ("a.png", "I;16"),
        ("a.jpg", "RGB"), ("a.jpg", "L"), ("a.jpg", "CMYK"), ("a.webp", "RGB"), ("a.webp", "RGBA"), ("a.tif", "RGB"),
        ("a.tif", "1"), ("a.tif", "P"), ("a.tif", "CMYK"), ("a.tif", "I;16"), ("a.tif", "LAB"),
    ],
)  # fmt: skip
def test_any_mode_becomes_rgb_on_white(tmp_path: Path, name: str, mode: str) -> None:
    text = letter("Total 12", (80, 40))
    if mode == "I;16":
        image = Image.fromarray(np.asarray(text.convert("L")).astype(np.uint16) * 257)
    else:
        grey = text.convert("L")
        image = (
            text.convert(mode) if mode != "LAB" else Image.merge("LAB", (grey, *(Image.new("L", grey.size, 128),) * 2))
        )
    if mode in ("RGBA", "LA"):  # transparent paper: what it covers does not matter, it is white
        ink = np.asarray(text.convert("L")) < 128
        image.putalpha(Image.fromarray(np.where(ink, 255, 0).astype(np.uint8)))
    webp = name.endswith("webp")  # it states no resolution
    path = save(tmp_path / name, image, **({"lossless": True} if webp else {}))
    page = render(str(path), 0, AS_STORED)
    assert page.shape == ((421, 842, 3) if webp else (40, 80, 3))
    if webp:
        page = np.asarray(Image.fromarray(page).resize((80, 40), Image.Resampling.BOX))
    wanted = np.asarray(text.convert("1" if mode == "1" else "L")).astype(int) * (255 if mode == "1" else 1)
    assert np.abs(page.mean(axis=2) - wanted).mean() < 14
    assert np.percentile(page, 90) > 240
    assert np.percentile(page, 1) < 60


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "tif", "png"])
def test_exif_turns_the_page(tmp_path: Path, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / f"a.{suffix}"
    options = {"quality": 95} if suffix == "jpg" else {}
    Image.fromarray(quadrants()).save(path, exif=exif, dpi=(72, 72), **options)  # type: ignore[arg-type]
    (shape,) = look(str(path), AS_STORED).pages
    assert isinstance(shape, PageShape)
    page = render(str(path), 0, AS_STORED)
    assert page.shape[:2] == shape.pixels(72.0) == ((60, 40) if orientation > 4 else (40, 60))
    transposes = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: a.transpose(1, 0, 2),
    }
    transposes |= {
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        8: lambda a: np.rot90(a, 1),
    }
    assert corners(page) == corners(transposes[orientation](quadrants()))
    assert ("rotated" in shape.flags) == (orientation != 1)


@pytest.mark.parametrize(("rotate", "turns"), [(0, 0), (90, -1), (180, 2), (270, 1)])
def test_rotate_turns_a_pdf_page(tmp_path: Path, rotate: int, turns: int) -> None:
    (tmp_path / "a.pdf").write_bytes(pdf_bytes([Image.fromarray(quadrants())], rotate))
    page = render(str(tmp_path / "a.pdf"), 0, AS_STORED)
    assert page.shape[:2] == ((60, 40) if rotate % 180 else (40, 60))
    assert corners(page) == corners(np.rot90(quadrants(), turns))


def test_a_page_has_its_size_at_any_resolution(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(pdf_bytes([letter("one", (144, 72))]))
    save(tmp_path / "fax.tif", Image.new("1", (204, 98), 1), dpi=(204, 98))  # fax: another resolution down than across
    for name, points in (("a.pdf", (72, 144)), ("fax.tif", (72, 72))):
        for dpi in (72.0, 100.0, 200.0):
            page = render(str(tmp_path / name), 0, PageOptions(dpi=dpi))
            assert page.shape[:2] == tuple(-(-side * dpi // 72) for side in points)


def test_frames_of_a_tiff_are_pages_and_of_others_are_not(tmp_path: Path) -> None:
    frames = [letter(str(k), (40 + 10 * k, 30)) for k in range(3)]
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:], dpi=(72, 72))
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=[frames[0].rotate(180)])
    assert [page.width for page in look(str(tmp_path / "a.tif"), AS_STORED).pages] == [40, 50, 60]  # type: ignore[union-attr]
    assert len(look(str(tmp_path / "a.webp"), AS_STORED).pages) == 1
    for k in range(3):
        np.testing.assert_array_equal(render(str(tmp_path / "a.tif"), k, AS_STORED), np.asarray(frames[k]))


def test_what_is_damaged_is_named_and_loses_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    good = pdf_bytes([letter("a"), letter("b")])
    files = {
        "good.pdf": good,
        "cut.pdf": good[: len(good) // 3],
        "empty.pdf": b"",
        "none.pdf": pdf_bytes([]),
        "lies.pdf": b"GIF89a" + bytes(50),
        "lies.png": good[5:300],
        "deep/notes.txt": b"text",
        ".hidden.pdf": good,
        "same.pdf": good,
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    letter("whole").save(folder / "cut.png")
    data = (folder / "cut.png").read_bytes()
    (folder / "cut.png").write_bytes(data[: len(data) // 2])
    Image.fromarray(np.zeros((4, 4), np.float32)).save(folder / "float.tif")
    found = discover_pages([str(folder)], AS_STORED)
    told = {Path(one.source).name: (one.state, one.error, one.reason) for one in found.accounts}
    assert sorted((Path(page.file.uri).name, page.page) for page in found.pages) == [
        ("cut.png", 0), ("float.tif", 0), ("good.pdf", 0), ("good.pdf", 1), ("same.pdf", 0), ("same.pdf", 1),
    ]  # fmt: skip
    for name in ("cut.pdf", "empty.pdf", "none.pdf", "lies.pdf", "lies.png"):
        assert told[name][:2] == ("failed", "UnreadableError"), name
    assert "without pages" in told["none.pdf"][2]
    assert told["notes.txt"][:2] == ("skipped", "format")
    assert told[".hidden.pdf"][:2] == ("skipped", "hidden")
    with PageReader(AS_STORED) as reader:
        for name, error, words in (
            ("cut.png", UnreadableError, "damaged"),
            ("float.tif", RefusedError, "floating-point"),
        ):
            with pytest.raises(error, match=words):
                reader.render(str(folder / name), 0)
        assert reader.render(str(folder / "good.pdf"), 1).shape == (160, 220, 3)  # and goes on


def test_a_password_and_a_form_of_a_program_are_named(tmp_path: Path) -> None:
    locked = pdf_bytes([letter("a")]).replace(
        b"/Root 1 0 R",
        b"/Root 1 0 R /ID [<00><00>] /Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O <"
        + b"11" * 32
        + b"> /U <"
        + b"22" * 32
        + b"> >>",
    )
    (tmp_path / "locked.pdf").write_bytes(locked)
    with pytest.raises(UnreadableError, match="encrypted: it opens with a password only"):
        look(str(tmp_path / "locked.pdf"), AS_STORED)
    xfa = pdf_bytes([letter("Please wait")]).replace(
        b"/Type /Catalog", b"/NeedsRendering true /AcroForm << /Fields [] /XFA (x) >> /Type /Catalog"
    )
    (tmp_path / "xfa.pdf").write_bytes(xfa)
    with pytest.raises(RefusedError, match="XFA"):
        look(str(tmp_path / "xfa.pdf"), AS_STORED)


def test_limits_are_checked_before_anything_is_decoded(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(pdf_bytes([letter("a"), letter("b")]))
    few = PageOptions(dpi=72.0, max_pages=1)
    with pytest.raises(RefusedError, match="max_pages"):
        look(str(tmp_path / "a.pdf"), few)
    found = discover_pages([str(tmp_path)], PageOptions(dpi=72.0, max_pixels=1000))
    assert not found.pages
    assert [one.source.rpartition("#")[2] for one in found.accounts] == ["page=1", "page=2"]
    assert all("max_pixels" in one.reason and "lower dpi" in one.reason for one in found.accounts)
    save(tmp_path / "big.png", Image.new("L", (3000, 2000)), dpi=(1200, 1200))
    with pytest.raises(RefusedError, match="max_source_pixels"):
        render(str(tmp_path / "big.png"), 0, PageOptions(dpi=72.0, max_source_pixels=1_000_000))
    with (
        pytest.raises(RefusedError, match="max_file"),
        local_copy(found_source(tmp_path / "a.pdf"), PageOptions(max_file=10)),
    ):
        pass
    for wrong in ({"dpi": 10.0}, {"max_pages": 0}, {"page_seconds": 0}, {"limits": {"nonsense": 1}}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            PageOptions(**wrong)  # type: ignore[arg-type]


def found_source(path: Path):  # type: ignore[no-untyped-def]
    from gridscribe.ingest.sources import Source

    return Source(str(path))


def test_a_page_that_takes_too_long_is_ended_and_the_next_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.pdf").write_bytes(pdf_bytes([letter("a")]))
    hook = tmp_path / "site"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if os.environ.get('SLOW') == '1':\n"
        "    import time\n"
        "    import gridscribe.ingest.pages.formats as f\n"
        "    f.render = lambda *a: time.sleep(60)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(hook))
    monkeypatch.setenv("SLOW", "1")
    with PageReader(PageOptions(dpi=72.0, page_seconds=6.0)) as reader:
        started = time.monotonic()
        with pytest.raises(ItemTimeoutError, match="page_seconds"):
            reader.render(str(tmp_path / "a.pdf"), 0)
        assert time.monotonic() - started < 30
        monkeypatch.setenv("SLOW", "0")
        assert reader.render(str(tmp_path / "a.pdf"), 0).shape == (160, 220, 3)


def test_a_process_that_dies_is_a_damaged_file_and_the_next_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(pdf_bytes([letter("a")]))
    with PageReader(AS_STORED) as reader:
        reader.look(str(tmp_path / "a.pdf"))
        assert reader._child is not None
        os.kill(reader._child.pid, signal.SIGKILL)
        with pytest.raises(UnreadableError, match="ended the process"):
            reader.look(str(tmp_path / "a.pdf"))
        assert len(reader.look(str(tmp_path / "a.pdf")).pages) == 1


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip", "stored.zip"])
def test_documents_in_archives_have_the_ids_of_those_in_folders(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "in" / "x"
    folder.mkdir(parents=True)
    (folder / "a.pdf").write_bytes(pdf_bytes([letter("a"), letter("b")]))
    save(folder / "mask_1.png", letter("labels are documents here"))
    archive = tmp_path / f"docs.{kind}"
    if "tar" in kind:
        with tarfile.open(archive, "w:gz" if kind == "tar.gz" else "w") as tar:
            tar.add(folder, "x")
    else:
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED if "stored" in kind else zipfile.ZIP_DEFLATED) as packed:
            for path in sorted(folder.iterdir()):
                packed.write(path, f"x/{path.name}")
    plain, inside = (discover_pages([str(place)], AS_STORED) for place in (tmp_path / "in", archive))
    assert not plain.accounts
    assert not inside.accounts
    assert [page.image_id for page in plain.pages] == [page.image_id for page in inside.pages]
    with PageReader(AS_STORED) as reader:
        for one, other in zip(plain.pages, inside.pages, strict=True):
            with local_copy(one.file, AS_STORED) as a, local_copy(other.file, AS_STORED) as b:
                np.testing.assert_array_equal(reader.render(a, one.page), reader.render(b, other.page))


def test_text_masks_of_generated_pages_are_no_documents(tmp_path: Path) -> None:
    from gridscribe.ingest.paperwork import write_pages

    write_pages(tmp_path, 2, 3)
    save(tmp_path / "my_text.png", letter("a page of mine"))
    found = discover_pages([str(tmp_path)], AS_STORED)
    names = [Path(page.file.uri).name for page in found.pages]
    assert "my_text.png" in names
    assert not [name for name in names if name.endswith("_text.png") and name != "my_text.png"]
    assert {one.error for one in found.accounts} == {"label", "format"}


@pytest.mark.skipif(not REAL.is_dir(), reason="no real documents here")
def test_real_documents_have_their_pages() -> None:
    found = discover_pages([str(REAL)], PageOptions())
    assert not [one for one in found.accounts if one.state == "failed"]
    counts: dict[str, int] = {}
    for page in found.pages:
        counts[Path(page.file.uri).name] = counts.get(Path(page.file.uri).name, 0) + 1
    assert counts["federal-register-2020-17221.pdf"] == 15
    assert counts["multipage.pdf"] == 6
    assert counts["2206.01062.tif"] == 2
    assert counts["blank.pdf"] == 1
    assert len(counts) == len(list(REAL.iterdir()))
