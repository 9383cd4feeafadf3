"""OpenVINO on CPU: float32, or bfloat16 where the processor has it."""

from __future__ import annotations

import queue
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridscribe.errors import EngineError
from gridscribe.models.document.encoder import Bools, Float32, checked_crop, normalised_patches, patches_of
from gridscribe.models.document.package import DocumentPackage
from gridscribe.models.engines.base import EngineSpec
from gridscribe.models.engines.graph_cache import cached_graph, forget
from gridscribe.models.engines.openvino_engine import check_able, requests
from gridscribe.models.engines.quiet_openvino import ov


class OpenVINOCropEncoder:
    """See `CropEncoder`. Graphs of the blocks, of any number of tokens, of the head, of a whole crop, and of the classifier.

    Crops run in streams of one thread, as windows do in `OpenVINOEngine`, so the answer for one is the same bits with any
    number of threads. The graphs are kept on disk; when they are there, torch is not imported.
    """

    def __init__(self, spec: EngineSpec, package: DocumentPackage, threads: int) -> None:
        """Compiles the network for `threads` cores. Raises EngineError for bfloat16 on a processor without it."""
        check_able(spec)
        self.spec, self.parallel, self._package = spec, threads + 1, package
        core = ov.Core()
        blocks, head = (_graph(core, package, kind) for kind in ("blocks", "head"))
        self._blocks = requests(core, blocks, spec, threads, self.parallel)
        self._heads = requests(core, head, spec, threads, self.parallel)
        self._classifiers: queue.SimpleQueue[Any] | None = None
        if package.classifies:
            exact = replace(spec, precision="float32")
            self._classifiers = requests(core, _graph(core, package, "classifier"), exact, threads, self.parallel)
        self._closed = False

    def encode(self, crop: NDArray[np.uint8], kept: Bools | None = None) -> Float32:
        """See `CropEncoder.encode`."""
        if self._closed:
            raise EngineError("this encoder is closed")
        package = self._package
        held = checked_crop(crop, kept, package)
        grid, arch = len(held), package.architecture
        cells = grid * 2**arch.doublings
        at = np.flatnonzero(held)
        if not len(at):
            return np.zeros((cells, cells, arch.embed_dim), np.float32)
        patches = normalised_patches(patches_of(crop, arch.patch)[at], package)
        position = np.stack(np.divmod(at, grid), axis=1).astype(np.float32)
        tokens = self._run(self._blocks, [patches[None], position[None]])
        dense = np.zeros((arch.width, grid * grid), np.float32)
        dense[:, at] = tokens[0].T
        given = [dense.reshape(1, arch.width, grid, grid), held[None].astype(np.float32)]
        return self._run(self._heads, given)[0]

    def text_logits(self, blocks: NDArray[np.uint8]) -> Float32:
        """See `CropEncoder.text_logits`; in float32 whatever the product's precision, as the sign decides what is computed."""
        if self._closed:
            raise EngineError("this encoder is closed")
        if self._classifiers is None:
            raise ValueError(f"model {self._package.name} has no patch classifier")
        return self._run(self._classifiers, [blocks.astype(np.float32) / np.float32(255)])

    def close(self) -> None:
        """See `CropEncoder.close`."""
        self._closed = True
        self._blocks, self._heads = queue.SimpleQueue(), queue.SimpleQueue()

    def _run(self, idle: queue.SimpleQueue[Any], given: list[Float32]) -> Float32:
        request = idle.get()
        try:
            for number, array in enumerate(given):
                request.set_input_tensor(number, ov.Tensor(np.ascontiguousarray(array)))
            request.infer()
            return np.array(request.get_output_tensor(0).data, np.float32)
        finally:
            idle.put(request)


def _graph(core: ov.Core, package: DocumentPackage, kind: str) -> Any:
    """A converted part of the network, always as read back from disk, so that the first use and later ones compile the same."""

    def convert(path: Path) -> None:
        import torch

        from gridscribe.models.document.package import build_classifier, build_page_encoder

        network, arch = build_page_encoder(package), package.architecture
        grid = package.crop // arch.patch

        class Blocks(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.network = network

            def forward(self, patches: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
                return self.network.tokens(patches, position)

        class Head(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.head = network.head

            def forward(self, dense: torch.Tensor, held: torch.Tensor) -> torch.Tensor:
                found: torch.Tensor = self.head(dense, held)
                return found

        block = 2 * arch.patch
        some = 37  # tokens of the example; any number may come
        examples: dict[str, tuple[Callable[[], torch.nn.Module], list[torch.Tensor], list[list[int]]]] = {
            "blocks": (
                Blocks,
                [torch.zeros(1, some, 3 * arch.patch**2), torch.zeros(1, some, 2)],
                [[1, -1, 3 * arch.patch**2], [1, -1, 2]],
            ),
            "head": (
                Head,
                [torch.zeros(1, arch.width, grid, grid), torch.ones(1, grid, grid)],
                [[1, arch.width, grid, grid], [1, grid, grid]],
            ),
            "classifier": (
                lambda: build_classifier(package),
                [torch.zeros(some, 3, block, block)],
                [[-1, 3, block, block]],
            ),
        }
        made, example, shapes = examples[kind]
        module = made().eval()
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is constant of a crop may be constant in the graph
            traced = torch.jit.trace(module, tuple(example), check_trace=False)
        graph = ov.convert_model(traced, example_input=tuple(example), input=shapes)
        ov.save_model(graph, path, compress_to_fp16=False)

    name = f"page {kind}"
    path = cached_graph(package, package.crop, ov.__version__, convert, name)
    try:
        return core.read_model(path)
    except RuntimeError:
        forget(path)
        return core.read_model(cached_graph(package, package.crop, ov.__version__, convert, name))
