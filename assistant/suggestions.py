"""An answer → questions to go on with, from the headings of the documents that it cites.

A heading that is a question is one that its section answers; where a document has too few of these, its other headings
serve. Nothing is made up.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from assistant.schemas import Chunk, Embedder
from assistant.words import content_words

SUGGESTED = 3
MOST_HEADINGS = 60
"""Passages of the documents cited whose headings are looked at."""
SAME = 0.8
"""So near to the question, or to each other (cosine), headings ask the same."""
NEAR = 0.4
"""A heading or a passage with at least so high a cosine to the question is near to it."""
FEWEST_WORDS = 2
"""A heading with fewer content words ("Limits") says too little alone."""


def next_questions(
    query: str, asked: Collection[str], cited: Collection[Chunk], chunks: Sequence[Chunk], embedder: Embedder
) -> tuple[str, ...]:
    """At most `SUGGESTED` headings, nearest to ``query`` first, those that are questions before others.

    Args:
        asked: what was asked before.
        cited: what the answer cites; it is not suggested again.
        chunks: the passages of the documents cited.
    """
    known = {chunk.headings for chunk in cited}
    headings = [chunk.headings[-1] for chunk in chunks if chunk.headings and chunk.headings not in known]
    named = [heading for heading in dict.fromkeys(headings) if len(content_words(heading)) >= FEWEST_WORDS]
    if not named:
        return ()
    query_vector, *vectors = embedder.embed([query, *named])
    cosines = [float(vector @ query_vector) for vector in vectors]
    fitting = [i for i, heading in enumerate(named) if heading.endswith("?") or cosines[i] >= NEAR]
    order = sorted(fitting, key=lambda i: (not named[i].endswith("?"), -cosines[i]))
    chosen: list[int] = []
    for i in order:
        is_new = all(float(vectors[i] @ vector) < SAME for vector in (query_vector, *(vectors[j] for j in chosen)))
        if is_new and named[i] not in asked and len(chosen) < SUGGESTED:
            chosen.append(i)
    return tuple(named[i] for i in chosen)
