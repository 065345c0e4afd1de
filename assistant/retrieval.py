"""Question → ranked `SearchResult`s: nearest vectors and full text, fused.

The fused score of a chunk is ``DENSE_WEIGHT * cosine + (1 - DENSE_WEIGHT) * BM25``, each first centred and scaled
over the candidates of the question (z-scores), so that neither half's units matter. This module knows nothing of
conversations, prompts or models of language.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from assistant.index import KnowledgeIndex, Snapshot
from assistant.types import Embedder, SearchResult, Vectors
from assistant.words import content_words

DENSE_WEIGHT = 0.7
CANDIDATES = 100
"""How deep each half is searched before fusing."""


class Retriever:
    """Searches one index with one embedder; safe to share between threads."""

    def __init__(self, index: KnowledgeIndex, embedder: Embedder) -> None:
        self.index = index
        self.embedder = embedder
        # what a follow-up is compared by is searched for a moment later
        self._vector = lru_cache(maxsize=8)(lambda text: embedder.embed([text])[0])

    def search(self, query: str, limit: int) -> list[SearchResult]:
        """The ``limit`` best chunks for ``query``, best first."""
        vector = self._vector(query)
        with self.index.snapshot() as snapshot:
            scores, similarities = fused(snapshot, vector, full_text_query(query))
            best = sorted(scores, key=lambda identifier: (-scores[identifier], identifier))[:limit]
            chunks = snapshot.chunks(best)
        return [SearchResult(i, chunks[i], scores[i], similarities[i]) for i in best]

    def nearness(self, text: str) -> float:
        """The cosine of ``text`` and the nearest vector of any chunk; 0 when there is none."""
        with self.index.snapshot() as snapshot:
            return max(snapshot.nearest(self._vector(text), 1).values(), default=0.0)

    def unknown(self, words: Sequence[str]) -> list[str]:
        """Those of ``words`` that stand in no document, in order."""
        if not words:
            return []
        with self.index.snapshot() as snapshot:
            return [word for word in words if not snapshot.holds(_quoted(word))]


def fused(snapshot: Snapshot, vector: Vectors, match: str) -> tuple[dict[int, float], dict[int, float]]:
    """Fused score and cosine of every candidate."""
    words = snapshot.full_text(match, CANDIDATES)
    similarities = snapshot.nearest(vector, CANDIDATES)
    similarities |= snapshot.similarities([i for i in words if i not in similarities], vector)
    dense, sparse = _standardised(similarities), _standardised({i: words.get(i, 0.0) for i in similarities})
    return {i: DENSE_WEIGHT * dense[i] + (1 - DENSE_WEIGHT) * sparse[i] for i in similarities}, similarities


def _standardised(scores: Mapping[int, float]) -> dict[int, float]:
    values = np.fromiter(scores.values(), float, len(scores))
    deviation = float(values.std()) if len(values) else 0.0
    if deviation < 1e-9:
        return dict.fromkeys(scores, 0.0)
    return {key: (score - float(values.mean())) / deviation for key, score in scores.items()}


def full_text_query(text: str) -> str:
    """An FTS5 query that matches any content word; every word is quoted, so no operator can be smuggled in."""
    return " OR ".join(map(_quoted, content_words(text)[:64]))


def _quoted(word: str) -> str:
    return '"' + word.replace('"', '""') + '"'
