"""Which of the documents' own sentences stand beside the model's.

A small model writes one sentence where three are asked for. What it left out is quoted: most of it from the passage
that it read, since an answer that keeps to its subject reads better than one from five places, the rest from wherever
it is near. This module does not know how near sentences are found (`grounding` does), nor when to quote at all.
"""

from __future__ import annotations

from collections.abc import Sequence

from assistant.grounding import EvidenceSentence
from assistant.types import Chunk

FEWEST = 5
"""An answer of fewer sentences is filled up with the passages' own."""
OF_THE_FIRST = 3
"""So many of them are of the passage that the model read, where it has as many to say."""
QUOTE_SIMILARITY = 0.5
"""How near to the question, or to what was withheld, a quoted sentence must be that is not of the best passage."""
QUOTED_PASSAGES, QUOTE_DISTANCE = 3, 0.3
"""Of so many passages, what is hardly farther than the nearest sentence is quoted: strange words are far from all."""


def quotes(
    near: Sequence[tuple[EvidenceSentence, float]],
    passages: Sequence[Chunk],
    cited: Sequence[EvidenceSentence],
    shown: int,
) -> tuple[list[EvidenceSentence], list[EvidenceSentence]]:
    """The sentences to quote: of the passage that the model read, and of others; in each as they follow each other.

    Args:
        near: the sentences that say something new, with their cosines, best first (see `Evidence.nearest`).
        passages: those found; the model read the first.
        cited: what supports the sentences that are shown.
        shown: how many these are.
    """
    bar = max((cosine for _, cosine in near), default=0.0) - QUOTE_DISTANCE
    bars = dict.fromkeys(passages[:QUOTED_PASSAGES], min(bar, QUOTE_SIMILARITY)) | {passages[0]: -1.0}
    good = [sentence for sentence, cosine in near if cosine >= bars.get(sentence.chunk, QUOTE_SIMILARITY)]
    missing = max(0, OF_THE_FIRST - sum(sentence.chunk == passages[0] for sentence in cited))
    of_the_first = [sentence for sentence in good if sentence.chunk == passages[0]][:missing]
    others = [sentence for sentence in good if sentence not in of_the_first]
    chosen = [*of_the_first, *others][: max(0, FEWEST - shown)]
    chunks = [sentence.chunk for sentence in chosen]
    chosen.sort(key=lambda sentence: (chunks.index(sentence.chunk), sentence.start))
    own = [sentence for sentence in chosen if sentence.chunk == passages[0]]
    return own, [sentence for sentence in chosen if sentence.chunk != passages[0]]
