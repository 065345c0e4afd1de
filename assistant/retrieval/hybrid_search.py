"""Question → ranked `SearchResult`s: vectors and full text, fused, then reranked by the tokens.

`Retriever.search` has two stages.

1. Candidates. The fused score of a chunk is ``DENSE_WEIGHT * likeness + (1 - DENSE_WEIGHT) * BM25``, each standardised
   over the candidates (z-scores), so that the units of neither matter. Likeness is the cosine of the chunk; where the
   document has an expansion, a soft maximum over the cosines of the chunk and its questions. BM25 counts the words of
   both.
2. Late interaction over the first `RERANKED` candidates: for each token of the question the most similar token of the
   chunk, weighted by how rare the question's token is (`max_similarity`). It is added to the fused score, both
   standardised. ColBERT (Khattab and Zaharia, SIGIR 2020) describes the operator; the embedder is used as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from assistant.retrieval.store import KnowledgeIndex, Snapshot
from assistant.schemas import Embedder, Encoding, SearchResult, Vectors
from assistant.words import content_words

DENSE_WEIGHT = 0.6
CANDIDATES = 100
"""How deep each half is searched before fusing."""
RERANKED = 30
"""Fused candidates whose tokens are compared."""
TOKENS_WEIGHT = 2.0
"""The weight of the token similarity beside the fused score. Chosen on clapnq, nq, mtrag_un and our own questions."""
SOFTNESS = 0.1
"""How much lower a cosine may be than the chunk's best and still count (by 1/e): several near questions say more than
one."""
SAYS = 0.5
"""Where the tokens of an example are on average so similar to a text's, the text says it too. Chosen on 200 development
questions (forms of an answer) and 448 sentences of the model (that the passages do not tell)."""
SAME = 1e-9
"""Scores that differ by no more than this are the same."""


class Retriever:
    """Searches one index with one embedder; safe to share between threads."""

    def __init__(self, index: KnowledgeIndex, embedder: Embedder) -> None:
        self.index = index
        self.embedder = embedder
        self.encode = lru_cache(maxsize=256)(lambda text: embedder.encode([text])[0])
        """The encoding of a text; of those asked last, kept."""

    def search(self, query: str, limit: int, context: str = "") -> list[SearchResult]:
        """The ``limit`` best chunks for ``query``, best first.

        Args:
            context: the query behind what was said before it. Candidates are then searched with both, and the tokens
                of the query are those that the embedder sees behind the context.
        """
        texts = list(dict.fromkeys((query, context or query)))
        encoding = self.last_words(query, context)
        with self.index.snapshot() as snapshot:
            scores: dict[int, float] = {}
            cosines: dict[int, Vectors] = {}
            for text in texts:
                some, own = fused(snapshot, self.encode(text).vector, full_text_query(text))
                scores |= {i: max(score, scores.get(i, score)) for i, score in some.items()}
                cosines |= own
            candidates = sorted(scores, key=lambda identifier: (-scores[identifier], identifier))
            encodings = snapshot.encodings(candidates[: max(RERANKED, limit)])
            shortlist = {i: scores[i] for i in candidates if i in encodings}
            ranks = _reranked(encoding, snapshot.rarities(encoding.ids), shortlist, encodings)
            best = sorted(ranks, key=lambda identifier: (-ranks[identifier], identifier))[:limit]
            chunks = snapshot.chunks(best)
        return [SearchResult(i, chunks[i], ranks[i], float(cosines[i][0]), encodings[i]) for i in best]

    def last_words(self, query: str, context: str) -> Encoding:
        """The tokens of ``query``, as they are seen at the end of ``context``."""
        if not context:
            return self.encode(query)
        whole = self.encode(context)
        part = whole.part(len(context) - len(query), len(context))
        return part if len(part.ids) else self.encode(query)

    def says(self, text: str, example: str) -> bool:
        """Whether ``text`` says what ``example`` says, among other things."""
        encoding = self.encode(example)
        return max_similarity(encoding, np.ones(len(encoding.ids), np.float32), self.encode(text)) >= SAYS

    def rarities(self, encoding: Encoding) -> Vectors:
        """How rare each token is in the documents (inverse document frequency), shape ``(n,)``."""
        with self.index.snapshot() as snapshot:
            return snapshot.rarities(encoding.ids)


def fused(snapshot: Snapshot, vector: Vectors, match: str) -> tuple[dict[int, float], dict[int, Vectors]]:
    """Of every candidate the fused score, and the cosines (see `Snapshot.likenesses`)."""
    words = snapshot.full_text(match, CANDIDATES)
    cosines = snapshot.likenesses(list(words | snapshot.nearest(vector, CANDIDATES)), vector)
    likeness = {i: SOFTNESS * float(np.log(np.exp(some / SOFTNESS).sum())) for i, some in cosines.items()}
    dense, sparse = _standardised(likeness), _standardised({i: words.get(i, 0.0) for i in cosines})
    return {i: DENSE_WEIGHT * dense[i] + (1 - DENSE_WEIGHT) * sparse[i] for i in cosines}, cosines


def _reranked(
    query: Encoding, rarities: Vectors, scores: Mapping[int, float], encodings: Mapping[int, Encoding]
) -> dict[int, float]:
    similarities = _standardised({i: max_similarity(query, rarities, encodings[i]) for i in scores})
    first = _standardised(scores)
    return {i: first[i] + TOKENS_WEIGHT * similarities[i] for i in scores}


def max_similarity(text: Encoding, weights: Vectors, other: Encoding) -> float:
    """The mean, over the tokens of ``text``, of the cosine of the most similar token of ``other``.

    Args:
        weights: of each token of ``text`` in the mean, shape ``(n,)``.

    Returns:
        -1 to 1; 0 where either has no tokens.
    """
    if not len(text.ids) or not len(other.ids) or not weights.sum():
        return 0.0
    nearest = token_similarities(text, other).max(axis=1)
    return float(nearest @ weights / weights.sum())


def token_similarities(text: Encoding, other: Encoding) -> Vectors:
    """The cosine of every token of ``text`` with every token of ``other``, shape ``(n, m)``."""
    return np.asarray(text.tokens.astype(np.float32) @ other.tokens.astype(np.float32).T / 127**2, np.float32)


def _standardised(scores: Mapping[int, float]) -> dict[int, float]:
    values = list(scores.values())
    mean, deviation = (float(np.mean(values)), float(np.std(values))) if values else (0.0, 0.0)
    return {key: (score - mean) / deviation if deviation > SAME else 0.0 for key, score in scores.items()}


def full_text_query(text: str) -> str:
    """An FTS5 query that matches any content word; every word is quoted, so no operator can be smuggled in."""
    return " OR ".join(map(_quoted, content_words(text)[:64]))


def _quoted(word: str) -> str:
    return '"' + word.replace('"', '""') + '"'
