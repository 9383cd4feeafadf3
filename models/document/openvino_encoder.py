"""OpenVINO on CPU: float32, or bfloat16 where the processor has it."""

from __future__ import annotations

import queue
import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridscribe.errors import EngineError
from gridscribe.models.document.encoder import Bools, Float32, checked_crop, normalised_patches, patches_of
from gridscribe.models.document.neighbours import laid, neighbours
from gridscribe.models.document.package import DocumentPackage
from gridscribe.models.engines.base import EngineSpec
from gridscribe.models.engines.graph_cache import cached_graph, forget
from gridscribe.models.engines.openvino_engine import check_able, requests
from gridscribe.models.engines.quiet_openvino import ov


class OpenVINOCropEncoder:
    """See `CropEncoder`. Graphs of the encoder, of any number of kept patches, and of the classifier.

    Crops run in streams of one thread, as windows do in `OpenVINOEngine`, so the answer for one is the same bits with any
    number of threads. The graphs are kept on disk; when they are there, torch is not imported.
    """

    def __init__(self, spec: EngineSpec, package: DocumentPackage, threads: int) -> None:
        """Compiles the network for `threads` cores. Raises EngineError for bfloat16 on a processor without it."""
        check_able(spec)
        self.spec, self.parallel, self._package = spec, threads + 1, package
        core = ov.Core()
        self._encoders = requests(core, _graph(core, package, "encoder"), spec, threads, self.parallel)
        self._core, self._lock = core, threading.Lock()
        self._single: queue.SimpleQueue[Any] | None = None
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
        at = np.flatnonzero(held)
        if not len(at):
            return laid(np.zeros((0, arch.embed_dim), np.float32), held, arch.doublings)
        patches = normalised_patches(patches_of(crop, arch.patch)[at], package)
        position = np.stack(np.divmod(at, grid), axis=1).astype(np.float32)
        near = neighbours(held, arch.doublings)
        idle = self._for_one() if len(at) == 1 else self._encoders
        return laid(self._run(idle, [patches[None], position[None], *near]), held, arch.doublings)

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
        self._encoders, self._single = queue.SimpleQueue(), None

    def _for_one(self) -> queue.SimpleQueue[Any]:
        """A graph for one token alone, compiled when it is first needed.

        In a graph for any number of them OpenVINO (2026.4) computes wrong numbers for 16 tokens and more, in a stream that one
        token alone has been in.
        """
        with self._lock:
            if self._single is None:
                graph = _single_token(_graph(self._core, self._package, "encoder"), self._package)
                self._single = requests(self._core, graph, self.spec, 1, 1)
            return self._single

    def _run(self, idle: queue.SimpleQueue[Any], given: Sequence[NDArray[Any]]) -> Float32:
        request = idle.get()
        try:
            for number, array in enumerate(given):
                request.set_input_tensor(number, ov.Tensor(np.ascontiguousarray(array)))
            request.infer()
            return np.array(request.get_output_tensor(0).data, np.float32)
        finally:
            idle.put(request)


def _single_token(graph: Any, package: DocumentPackage) -> Any:
    """The encoder for one token, and no other number of them."""
    arch = package.architecture
    shapes = [[1, 1, 3 * arch.patch**2], [1, 1, 2], *([4**level, 9] for level in range(arch.doublings))]
    graph.reshape(dict(enumerate(shapes)))
    return graph


def _graph(core: ov.Core, package: DocumentPackage, kind: str) -> Any:
    """A converted part of the network, always as read back from disk, so that the first use and later ones compile the same."""

    def convert(path: Path) -> None:
        import torch

        from gridscribe.models.document.package import build_classifier, build_page_encoder

        network, arch = build_page_encoder(package), package.architecture

        class Encoder(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.network = network

            def forward(self, patches: torch.Tensor, position: torch.Tensor, *near: torch.Tensor) -> torch.Tensor:
                return self.network.head.kept(self.network.tokens(patches, position)[0], near)

        block = 2 * arch.patch
        some = 37  # tokens of the example; any number may come
        near = [torch.zeros(some * 4**level, 9, dtype=torch.int64) for level in range(arch.doublings)]
        examples: dict[str, tuple[Callable[[], torch.nn.Module], list[torch.Tensor], list[list[int]]]] = {
            "encoder": (
                Encoder,
                [torch.zeros(1, some, 3 * arch.patch**2), torch.zeros(1, some, 2), *near],
                [[1, -1, 3 * arch.patch**2], [1, -1, 2], *([-1, 9] for _ in near)],
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
