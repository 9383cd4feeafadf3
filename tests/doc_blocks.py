"""Runs blocks of a document in the current folder, in order: `python tests/doc_blocks.py BLOCKS.json`.

BLOCKS.json is a list of `{"kind", "line", "text"}` of one document. Blocks of `sh` are run by bash, which stops at the first
command that fails; what they export is there for the next one, as it is for a reader who types them. Blocks of `python` share
one namespace. Before each block a line says where it stands; the status is 1 after the first that fails, and no other is run.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any


def shell(text: str, exported: Path) -> bool:
    """Whether all went well."""
    script = f"set -euo pipefail\n. {exported}\n{text}\nexport -p > {exported}\n"
    return subprocess.run(["bash", "-c", script], stdin=subprocess.DEVNULL, check=False).returncode == 0


def python(text: str, line: int, names: dict[str, Any]) -> bool:
    """Whether all went well; lines of a traceback are those of the document."""
    try:
        exec(compile("\n" * (line - 1) + text, "document", "exec"), names)
    except BaseException:  # noqa: BLE001 - also where a block exits
        traceback.print_exc(file=sys.stdout)
        return False
    return True


def main(file: Path) -> int:
    """Run all; the status."""
    names: dict[str, Any] = {"__name__": "__main__"}
    with tempfile.NamedTemporaryFile() as exported:
        for block in json.loads(file.read_text()):
            print(f"--- {block['kind']} at line {block['line']}", flush=True)
            if block["kind"] == "sh":
                well = shell(block["text"], Path(exported.name))
            else:
                well = python(block["text"], block["line"], names)
            if not well:
                print(f"--- the {block['kind']} block at line {block['line']} failed", flush=True)
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
