"""Embeddings of phrases: templates filled in, encoded, averaged, and kept."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridscribe.byte_pairs import byte_pairs
from gridscribe.errors import QueryError, UsageError
from gridscribe.models.clip.package import AlignmentPackage

Float32 = NDArray[np.float32]
Key = tuple[str, tuple[str, ...], str]

LONGEST = 16
"""Characters a token, at most, of sentences that are tried."""
PLAIN = ("{}",)
SATELLITE = ("a satellite photo of {}.", "a satellite image of {}")
"""The two that FarSLIP (arXiv 2511.14901) classifies scenes with."""


class TextEncoder:
    """The text tower of a package, as a function of phrases.

    A phrase is encoded by itself with its templates, cut to its own length (the tower is causal, so what follows a
    phrase's end does not count): its bits depend on no other phrase of the call. Embeddings are kept in `cache` by
    (digest of the package, templates, phrase); one cache may serve several encoders.
    """

    def __init__(self, package: AlignmentPackage, cache: MutableMapping[Key, Float32] | None = None) -> None:
        """Builds the tower. Raises ModelError where the package was loaded without it, or its weights do not fit."""
        from gridscribe.models.clip.towers import build_text_tower

        self.digest, self.embed_dim, self._context = package.digest, package.embed_dim, package.context_length
        self._cache: MutableMapping[Key, Float32] = {} if cache is None else cache
        self._tower: Any = build_text_tower(package)

    def embed(self, phrases: Sequence[str], templates: Sequence[str] = PLAIN) -> Float32:
        """L2-normalised float32 [N, D], a row per phrase, in their order.

        Each template has one `{}` for the phrase. Their embeddings are normalised, averaged and normalised again
        (Radford et al. 2021, section 3.1.4). Raises QueryError for an empty phrase or one longer than the tower's context (it
        is never cut), UsageError for templates that cannot be filled.
        """
        if isinstance(phrases, str):
            raise UsageError(f"phrases={phrases!r}: a list of phrases is needed")
        wanted = _checked(templates)
        found = np.empty((len(phrases), self.embed_dim), np.float32)
        for k, phrase in enumerate(phrases):
            key = self.digest, wanted, phrase
            if (kept := self._cache.get(key)) is None:
                kept = self._cache[key] = self._encode(phrase, wanted)
            found[k] = kept
        return found

    def _encode(self, phrase: str, templates: tuple[str, ...]) -> Float32:
        import torch

        from gridscribe.models.clip.towers import encode_tokens

        if not phrase.strip():
            raise QueryError(f"phrase {phrase!r} is empty")
        rows = [self._tokens(template.replace("{}", phrase), phrase) for template in templates]
        length = max(map(len, rows))
        tokens = torch.zeros(len(rows), length, dtype=torch.long)
        for k, row in enumerate(rows):
            tokens[k, : len(row)] = torch.tensor(row)
        with torch.inference_mode(), _one_thread():
            each = torch.nn.functional.normalize(encode_tokens(self._tower, tokens), dim=-1)
            mean = torch.nn.functional.normalize(each.mean(dim=0), dim=-1)
        result: Float32 = mean.numpy().copy()
        result.flags.writeable = False
        return result

    def _tokens(self, sentence: str, phrase: str) -> list[int]:
        tokenizer = byte_pairs()
        if len(sentence) > LONGEST * self._context:  # encoding takes the square of a word's length
            raise QueryError(
                f"phrase {phrase[:40]!r} has {len(sentence)} characters in its template, the model reads {self._context} "
                "tokens; shorten it"
            )
        tokens = [tokenizer.sot_token_id, *tokenizer.encode(sentence), tokenizer.eot_token_id]
        if len(tokens) > self._context:
            raise QueryError(
                f"phrase {phrase!r} has {len(tokens)} tokens in its template, the model reads {self._context}; shorten it"
            )
        return tokens


@contextmanager
def _one_thread() -> Iterator[None]:
    """The last bits of a sum depend on how many threads share it: a phrase has one vector, whoever asks, and wherever."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _checked(templates: Sequence[str]) -> tuple[str, ...]:
    if isinstance(templates, str) or not templates:
        raise UsageError(f"templates={templates!r}: a list of at least one is needed")
    for template in templates:
        if template.count("{}") != 1:
            raise UsageError(f"template {template!r}: must hold {{}} once, for the phrase")
    return tuple(templates)
