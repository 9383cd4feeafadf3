"""Whether the best match of a phrase lies on those words of generated pages: `python tests/demo_page.py PAGES MATCHES PHRASE`.

PAGES is a folder of `gridscribe pages`, MATCHES what `gridscribe match --json` told. Says which words lie under the best match's
box, and ends with status 1 unless they hold the phrase.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from gridscribe.ingest.paperwork import PageTruth


def words_under(truth: PageTruth, box: tuple[float, float, float, float]) -> list[str]:
    """The words whose middle lies in a box given in points."""
    x0, y0, x1, y1 = (value * truth.dpi / 72 for value in box)
    found = []
    for number, word in enumerate(truth.words):
        own = truth.words_box([number])
        if own is not None and x0 - 2 <= (own[0] + own[2]) / 2 <= x1 + 2 and y0 - 2 <= (own[1] + own[3]) / 2 <= y1 + 2:
            found.append(word.text)
    return found


def truth_of(folder: Path, source: str, page: int) -> PageTruth:
    """The truth of a page by its document's file and its number there."""
    for path in sorted(folder.glob("*_tokens.json")):
        truth = PageTruth.load(path)
        if truth.image == source and truth.frame == page:
            return truth
    raise SystemExit(f"{folder} tells nothing of page {page} of {source}")


def main() -> None:
    """Compare, say, and fail where it is wrong."""
    folder, matches, phrase = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())["matches"], sys.argv[3]
    best = matches[0]
    words = words_under(truth_of(folder, best["source"], best["page"]), tuple(best["box"]))
    print(f"{phrase!r}: best match on page {best['page'] + 1} of {best['source']}, over {' '.join(words)!r}")
    said = " ".join(words).lower()
    if not all(part in said for part in phrase.lower().split()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
