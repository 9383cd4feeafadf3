"""Runs the code cells of a notebook in one namespace, without Jupyter: `python tests/notebook_cells.py NOTEBOOK`.

Prints a line of JSON for each cell: its `id`, the `type` and `repr` of the value of its last expression (null where that is
None, or ends in a semicolon), the HTML that a notebook would show of it (`html`, or null), and how many `figures` were left open,
which are then drawn and closed.
"""

from __future__ import annotations

import ast
import json
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt


def run(source: str, names: dict[str, Any]) -> Any:
    """Run one cell; the value of its last expression."""
    tree = ast.parse(source)
    last = tree.body[-1] if tree.body else None
    if not isinstance(last, ast.Expr) or source.rstrip().endswith(";"):
        exec(compile(tree, "cell", "exec"), names)
        return None
    exec(compile(ast.Module(tree.body[:-1], []), "cell", "exec"), names)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names)


def figures() -> int:
    """Draw and close the open figures, and count them."""
    numbers = plt.get_fignums()
    for number in numbers:
        plt.figure(number).savefig(BytesIO())
    plt.close("all")
    return len(numbers)


def main(path: Path) -> None:
    """Run all, in order."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in json.loads(path.read_text())["cells"]:
        if cell["cell_type"] != "code":
            continue
        value = run("".join(cell["source"]), names)
        html = value._repr_html_() if hasattr(value, "_repr_html_") else None
        told = {"type": type(value).__name__, "repr": None if value is None else repr(value), "html": html}
        print(json.dumps({"id": cell["id"], **told, "figures": figures()}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
