"""The process that opens documents: `python -m gridscribe.ingest.pages.child`; spoken to by `reader.PageReader`.

A line of JSON in, `{"what": "look" | "render", "path", "page", "options"}`; a line of JSON out, and after it the pixels as bytes.
Files are hostile and libraries have faults, so nothing else lives in this process, and its memory is bounded.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from typing import Any, BinaryIO


def main() -> None:
    """Answer requests until the input ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not be taken for an answer
    bounded = False
    for line in sys.stdin.buffer:
        request = json.loads(line)
        if not bounded:
            limit = int(request["options"]["max_memory"])
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            bounded = True
        _answer(request, answers)
        answers.flush()


def _answer(request: dict[str, Any], answers: BinaryIO) -> None:
    from gridscribe.errors import InputError
    from gridscribe.ingest.pages.formats import look, render
    from gridscribe.ingest.pages.values import PageOptions, PageShape

    options = PageOptions(**request["options"])
    pixels = None
    reply: dict[str, Any]
    try:
        if request["what"] == "look":
            found = look(request["path"], options)
            pages = [
                {"width": page.width, "height": page.height, "flags": page.flags}
                if isinstance(page, PageShape)
                else page
                for page in found.pages
            ]
            reply = {"kind": found.kind, "pages": pages}
        else:
            pixels = render(request["path"], request["page"], options)
            reply = {"shape": pixels.shape}
    except InputError as error:
        reply = {"error": type(error).__name__, "message": str(error)}
    except MemoryError:
        reply = {"error": "RefusedError", "message": f"takes more than {options.max_memory:,} bytes (limit max_memory)"}
    except OSError as error:
        reply = {"error": "UnreadableError", "message": f"cannot be read: {error}"}
    answers.write(json.dumps(reply).encode() + b"\n")
    if pixels is not None:
        answers.write(pixels.tobytes())


if __name__ == "__main__":
    main()
