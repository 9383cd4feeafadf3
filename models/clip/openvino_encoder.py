"""OpenVINO on CPU: float32, or bfloat16 where the processor has it."""

from __future__ import annotations

import queue
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from gridscribe.errors import EngineError
from gridscribe.models.clip.encoder import DenseSpec, Float32, check_windows
from gridscribe.models.clip.package import AlignmentPackage
from gridscribe.models.engines.graph_cache import cached_graph, forget
from gridscribe.models.engines.openvino_engine import check_able, requests
from gridscribe.models.engines.quiet_openvino import ov


class OpenVINOEncoder:
    """See `DenseEncoder`. Windows run one by one in streams of one thread, as in `OpenVINOEngine`, for the same reasons.

    The answer for a window is the same bits at any place in a batch and with any number of threads. The tower is converted
    once per package, variant and window and kept on disk; when it is there, torch is not imported.
    """

    def __init__(self, spec: DenseSpec, package: AlignmentPackage, threads: int) -> None:
        """Compiles the tower for `threads` cores. Raises EngineError for bfloat16 on a processor without it."""
        check_able(spec)
        self.spec, self.embed_dim, self.grid = spec, package.embed_dim, spec.window // package.patch
        self.parallel = threads + 1
        core = ov.Core()
        self._idle = requests(core, _graph(core, spec, package), spec, threads, self.parallel)
        self._closed = False

    def encode(self, batch: Float32) -> tuple[Float32, Float32]:
        """See `DenseEncoder.encode`."""
        if self._closed:
            raise EngineError("this encoder is closed")
        check_windows(batch, self.spec)
        given = np.ascontiguousarray(batch)
        cls = np.empty((len(given), self.embed_dim), np.float32)
        tokens = np.empty((len(given), self.grid, self.grid, self.embed_dim), np.float32)
        request = self._idle.get()
        try:
            for k in range(len(given)):
                request.set_input_tensor(ov.Tensor(given[k : k + 1], shared_memory=True))
                request.infer()
                cls[k], tokens[k] = request.get_output_tensor(0).data[0], request.get_output_tensor(1).data[0]
        finally:
            self._idle.put(request)
        return cls, tokens

    def close(self) -> None:
        """See `DenseEncoder.close`; no call may be in progress."""
        self._closed = True
        self._idle = queue.SimpleQueue()


def _graph(core: ov.Core, spec: DenseSpec, package: AlignmentPackage) -> Any:
    """The converted tower, always as read back from disk, so that the first use and later ones compile the same."""

    def convert(path: Path) -> None:
        import torch

        from gridscribe.models.clip.dense import DenseTower
        from gridscribe.models.clip.towers import build_image_tower

        tower = DenseTower(build_image_tower(package), spec.variant, package.mean, package.std).eval()
        example = torch.zeros(1, 3, spec.window, spec.window)
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # sizes become constants of the graph, which is what is wanted
            tower(example)  # so that the table of positions is a constant too
            module = torch.jit.trace(tower, example, check_trace=False)
        graph = ov.convert_model(module, example_input=example.numpy(), input=list(example.shape))
        ov.save_model(graph, path, compress_to_fp16=False)

    kind = f"dense {spec.variant}"
    path = cached_graph(package, spec.window, ov.__version__, convert, kind)
    try:
        return core.read_model(path)
    except RuntimeError:
        forget(path)
        return core.read_model(cached_graph(package, spec.window, ov.__version__, convert, kind))
