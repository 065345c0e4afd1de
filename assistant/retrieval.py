"""Question → ranked `SearchResult`s: nearest vectors and full text, fused.

The fused score of a chunk is ``DENSE_WEIGHT * likeness + (1 - DENSE_WEIGHT) * BM25``, each first centred and scaled
over the candidates of the question (z-scores), so that neither half's units matter. Likeness is the chunk's cosine, or,
where its author wrote down questions, a soft maximum over its own and theirs; BM25 counts the words of both. Chunks
without questions are given their place among those that have some (`placed`). This module knows nothing of
conversations, prompts or models of language.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from assistant.index import KnowledgeIndex, Snapshot
from assistant.types import Embedder, SearchResult, Vectors
from assistant.words import content_words

DENSE_WEIGHT = 0.6
CANDIDATES = 100
"""How deep each half is searched before fusing."""
SOFTNESS = 0.1
"""How much lower a cosine may be than the chunk's best and still count (by 1/e): several near questions say more than
one."""
COMPARED = 10
"""Among so many candidates with questions a chunk without is given its place; among fewer, its score is kept."""
SAME = 1e-9
"""Scores that differ by no more than this are the same."""


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
            scores, cosines = fused(snapshot, vector, full_text_query(query))
            best = sorted(scores, key=lambda identifier: (-scores[identifier], identifier))[:limit]
            chunks = snapshot.chunks(best)
        believed = asked(cosines)
        return [SearchResult(i, chunks[i], scores[i], float(cosines[i].max()), i in believed) for i in best]

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


def fused(snapshot: Snapshot, vector: Vectors, match: str) -> tuple[dict[int, float], dict[int, Vectors]]:
    """Of every candidate the fused score, and the cosines (see `Snapshot.likenesses`)."""
    words, own_words = (snapshot.full_text(match, CANDIDATES, with_questions) for with_questions in (True, False))
    cosines = snapshot.likenesses(list(words | own_words | snapshot.nearest(vector, CANDIDATES)), vector)
    told = placed({i: words.get(i, 0.0) for i in cosines}, {i: own_words.get(i, 0.0) for i in cosines}, asked(cosines))
    dense, sparse = _standardised(likeness(cosines)), _standardised(told)
    return {i: DENSE_WEIGHT * dense[i] + (1 - DENSE_WEIGHT) * sparse[i] for i in cosines}, cosines


def likeness(cosines: Mapping[int, Vectors]) -> dict[int, float]:
    """How near each chunk is, by all its cosines: its own, then those of its questions."""
    own = {i: float(of_chunk[0]) for i, of_chunk in cosines.items()}
    soft = {i: SOFTNESS * float(np.log(np.exp(of_chunk / SOFTNESS).sum())) for i, of_chunk in cosines.items()}
    return placed(soft, own, asked(cosines))


def asked(cosines: Mapping[int, Vectors]) -> frozenset[int]:
    """The chunks of which their author wrote down questions."""
    return frozenset(i for i, of_chunk in cosines.items() if len(of_chunk) > 1)


def placed(scores: Mapping[int, float], own: Mapping[int, float], believed: frozenset[int]) -> dict[int, float]:
    """``scores``, in which every chunk has a place that is fair to those without questions.

    A question is nearer to questions than to text, and has more words in common with them. So a chunk that has none
    would be behind every chunk that has: what it scores by its ``own`` text, measured on the others' own, is given the
    same place on the scale of their scores.

    Args:
        believed: the chunks that have questions, see `asked`.
    """
    if len(believed) < COMPARED:
        return dict(scores)
    (own_mean, own_deviation), (mean, deviation) = (_moments([some[i] for i in believed]) for some in (own, scores))
    scale = deviation / own_deviation if own_deviation > SAME else 0.0
    return {i: scores[i] if i in believed else mean + scale * (own[i] - own_mean) for i in scores}


def _moments(values: Sequence[float]) -> tuple[float, float]:
    return float(np.mean(values)), float(np.std(values))


def _standardised(scores: Mapping[int, float]) -> dict[int, float]:
    mean, deviation = _moments(list(scores.values())) if scores else (0.0, 0.0)
    return {key: (score - mean) / deviation if deviation > SAME else 0.0 for key, score in scores.items()}


def full_text_query(text: str) -> str:
    """An FTS5 query that matches any content word; every word is quoted, so no operator can be smuggled in."""
    return " OR ".join(map(_quoted, content_words(text)[:64]))


def _quoted(word: str) -> str:
    return '"' + word.replace('"', '""') + '"'
