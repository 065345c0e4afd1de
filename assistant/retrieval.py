"""Question → ranked `SearchResult`s: nearest vectors and full text, fused.

The fused score of a chunk is ``DENSE_WEIGHT * cosine + (1 - DENSE_WEIGHT) * BM25``, each first centred and scaled
over the candidates of the question (z-scores), so that neither half's units matter. This module knows nothing of
conversations, prompts or models of language.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from assistant.index import KnowledgeIndex, Snapshot
from assistant.types import Embedder, SearchResult, Vectors

DENSE_WEIGHT = 0.7
CANDIDATES = 100
"""How deep each half is searched before fusing."""

_STOP_WORDS = frozenset(
    "a about an and are as at be been but by can could did do does for from had has have how i if in into is it "
    "its me many much my no not of on or our s should so than that the their them then there these they this "
    "those to us was we were what when where which who whom whose why will with would you your t tell give "
    "explain".split()
)


class Retriever:
    """Searches one index with one embedder; safe to share between threads."""

    def __init__(self, index: KnowledgeIndex, embedder: Embedder) -> None:
        self.index = index
        self.embedder = embedder

    def search(self, query: str, limit: int) -> list[SearchResult]:
        """The ``limit`` best chunks for ``query``, best first."""
        vector = self.embedder.embed([query])[0]
        with self.index.snapshot() as snapshot:
            scores, similarities = fused(snapshot, vector, full_text_query(query))
            best = sorted(scores, key=lambda identifier: (-scores[identifier], identifier))[:limit]
            chunks = snapshot.chunks(best)
        return [SearchResult(i, chunks[i], scores[i], similarities[i]) for i in best]


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


def content_words(text: str) -> list[str]:
    """The words of ``text`` that carry meaning, in lower case, in order and once each."""
    words = re.findall(r"\w+", text.lower())
    return list(dict.fromkeys(word for word in words if word not in _STOP_WORDS))


def full_text_query(text: str) -> str:
    """An FTS5 query that matches any content word; every word is quoted, so no operator can be smuggled in."""
    return " OR ".join(f'"{word}"' for word in content_words(text)[:64])
