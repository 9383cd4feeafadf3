"""Words looked for on pages: are they found at their places, and on their pages?

    python tests/bench/page_words.py [--model pages] [--documents 16] [--words 6] [PDF ...]

On generated documents that no model of ours was trained on, and on the pages of PDFs whose own text layer says what stands where;
with all patches computed, and with the classifier before the encoder. See `gridscribe.pipelines.documents.evaluation`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from gridscribe.ingest.paperwork import write_pages
from gridscribe.models.document.package import load_document_model
from gridscribe.pipelines.documents.evaluation import examine, examine_pdfs


def main() -> None:
    """Ask and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="pages")
    parser.add_argument("--documents", type=int, default=16)
    parser.add_argument("--words", type=int, default=6)
    parser.add_argument("pdfs", nargs="*", type=Path)
    options = parser.parse_args()
    package = load_document_model(options.model)
    with tempfile.TemporaryDirectory() as folder:
        write_pages(Path(folder), options.documents, 2002)
        print(json.dumps({"generated": examine(package, Path(folder), words=options.words)}, indent=1), flush=True)
    if options.pdfs:
        print(json.dumps({"pdf": examine_pdfs(package, options.pdfs, words=options.words)}, indent=1))


if __name__ == "__main__":
    main()
