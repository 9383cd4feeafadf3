"""Documents opened in a process beside this one, which is ended where it takes too long, and replaced where it dies."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridscribe import errors
from gridscribe.errors import ItemTimeoutError, RefusedError, UnreadableError
from gridscribe.ingest.limits import MIB
from gridscribe.ingest.opening import open_bytes
from gridscribe.ingest.pages.values import Looked, PageOptions, PageShape
from gridscribe.ingest.scratch import SCRATCH
from gridscribe.ingest.sources import Source

CHUNK = 4 * MIB


class PageReader:
    """One process that opens documents. For one thread at a time; close it after use."""

    def __init__(self, options: PageOptions) -> None:
        self._options = options
        self._told = options.to_json()
        self._child: subprocess.Popen[bytes] | None = None

    def look(self, path: str) -> Looked:
        """What a local file holds. Raises UnreadableError, RefusedError or ItemTimeoutError saying why it cannot be known."""
        reply, _ = self._ask({"what": "look", "path": path, "page": 0}, "opening the file")
        pages = tuple(
            page if isinstance(page, str) else PageShape(page["width"], page["height"], tuple(page["flags"]))
            for page in reply["pages"]
        )
        return Looked(reply["kind"], pages)

    def render(self, path: str, page: int) -> NDArray[np.uint8]:
        """A page of a local file, uint8 [height, width, 3]. Raises as `look` does."""
        reply, pixels = self._ask({"what": "render", "path": path, "page": page}, "rendering the page")
        return np.frombuffer(pixels, np.uint8).reshape(reply["shape"])

    def close(self) -> None:
        """End the process."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            for pipe in (self._child.stdin, self._child.stdout):
                if pipe is not None:
                    with suppress(BrokenPipeError):  # a request that was not read any more
                        pipe.close()
            self._child = None

    def __enter__(self) -> PageReader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _ask(self, request: dict[str, Any], doing: str) -> tuple[dict[str, Any], bytes]:
        if self._child is None:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "gridscribe.ingest.pages.child"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )  # fmt: skip
        until = time.monotonic() + self._options.page_seconds
        try:
            reply, pixels = self._exchange(self._child, {**request, "options": self._told}, until)
        except TimeoutError as error:
            self.close()
            raise ItemTimeoutError(
                f"{doing} took longer than {self._options.page_seconds:g} s (page_seconds), and its process was ended"
            ) from error
        except (BrokenPipeError, EOFError) as error:
            code = self._child.wait()
            self.close()
            raise UnreadableError(
                f"{doing} ended the process that did it (exit {code}): the file is damaged"
            ) from error
        except BaseException:
            self.close()  # half an answer may be left in the pipe
            raise
        if "error" in reply:
            kind = getattr(errors, reply["error"], UnreadableError)
            raise kind(reply["message"])
        return reply, pixels

    def _exchange(
        self, child: subprocess.Popen[bytes], request: dict[str, Any], until: float
    ) -> tuple[dict[str, Any], bytes]:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(json.dumps(request).encode() + b"\n")
        child.stdin.flush()
        output = child.stdout.fileno()
        head = bytearray()
        while b"\n" not in head:
            head += _some(output, until)
        line, _, pixels = bytes(head).partition(b"\n")
        reply: dict[str, Any] = json.loads(line)
        wanted = int(np.prod(reply["shape"])) if "shape" in reply else 0
        parts, size = [pixels], len(pixels)
        while size < wanted:
            parts.append(_some(output, until))
            size += len(parts[-1])
        return reply, b"".join(parts)


def _some(descriptor: int, until: float) -> bytes:
    """What the pipe holds next; EOFError where it is closed, TimeoutError where nothing comes."""
    ready, _, _ = select.select([descriptor], [], [], max(0.0, until - time.monotonic()))
    if not ready:
        raise TimeoutError
    data = os.read(descriptor, CHUNK)
    if not data:
        raise EOFError
    return data


@contextmanager
def local_copy(source: Source, options: PageOptions) -> Iterator[str]:
    """The path of a local file with the bytes of `source`: the file itself, or a copy in scratch while this is entered.

    Raises as `open_bytes` does, and RefusedError for a file above `max_file`.
    """
    ranges = open_bytes(source, options.limits)
    copied = 0
    path = None
    try:
        if ranges.size > options.max_file:
            raise RefusedError(f"{ranges.size / MIB:,.0f} MiB (limit max_file: {options.max_file / MIB:,.0f} MiB)")
        place = ranges.local
        if place is not None and source.member is None and place[1:] == (0, ranges.size):
            yield place[0]
            ranges.verify()
            return
        SCRATCH.reserve(ranges.size, options.limits.max_scratch, source.name)
        copied = ranges.size
        path = SCRATCH.new_file()
        with path.open("wb") as file:
            for start in range(0, ranges.size, CHUNK):
                file.write(ranges.fetch(start, CHUNK))
        yield str(path)
    finally:
        ranges.close()
        if path is not None:
            path.unlink(missing_ok=True)
        SCRATCH.release(copied)
