"""Which passage the model answers from, if any answers the question.

One passage is read, alone: it then stands where it was read before, nothing of what the model made of it is lost, and
no two subjects are mixed up. Likeness says which ones may be it. The model looks at each of these: asked whether the
passage contains the answer, by how much would it rather begin with a word that agrees than with one that does not? That
costs little, for the answer goes on from the look at the passage that is taken.

This module does not know how passages are found, nor what reads them. A question that several passages answer together
is answered from one of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from assistant.types import SearchResult

ENOUGH = 0.85
"""The nearest passage's similarity to the question, and the nearest sentence's, must make so much together."""
SURE = 1.05
"""At this sum a sentence may be shown before any passage is looked at."""
NEEDED, NEEDED_OF_BARE, NEEDED_OF_UNKNOWN = 0.0, 3.5, 2.0
"""So much lead and `OF_STRENGTH` times that sum must make together: where a passage's author said what it answers,
where nobody did, and so much more where a name in the question stands in no document. Readers ask our documents in
other words than these use, and get a clear "Yes" too seldom."""
OF_STRENGTH = 3.0
RIVALS, RIVAL_DISTANCE = 3, 1.0
"""Of so many passages those are rivals whose fused score is at most so far below the best one's; a logit counts like a
whole of the score."""


def is_sure(strength: float, has_unknown_name: bool) -> bool:
    """Whether the passages may be shown before any is looked at."""
    return strength >= SURE and not has_unknown_name


def lead_needed(strength: float, has_unknown_name: bool, has_questions: bool) -> float:
    """The least lead with which a passage answers; infinity where none would do.

    Args:
        strength: of the evidence, see `Evidence.strength`.
        has_questions: whether its author wrote down questions that the passage answers.
    """
    if strength < ENOUGH:
        return math.inf
    needed = NEEDED if has_questions else NEEDED_OF_BARE
    return needed + NEEDED_OF_UNKNOWN * has_unknown_name - OF_STRENGTH * strength


def choose(
    results: Sequence[SearchResult],
    needed: Callable[[SearchResult], float],
    look: Callable[[Sequence[SearchResult]], Sequence[float]],
) -> SearchResult | None:
    """The passage to answer from, or ``None``.

    Args:
        results: best first.
        needed: the lead that a passage must have, see `lead_needed`.
        look: the leads of some passages.
    """
    near = rivals(results)
    if all(needed(result) == math.inf for result in near):
        return None
    best, lead = max(zip(near, look(near), strict=True), key=lambda pair: pair[0].score + pair[1])
    return best if lead >= needed(best) else None


def rivals(results: Sequence[SearchResult]) -> list[SearchResult]:
    """The best passage, and those that are nearly as near to the question."""
    return [result for result in results[:RIVALS] if result.score >= results[0].score - RIVAL_DISTANCE]


def put_first(chosen: SearchResult, results: Sequence[SearchResult]) -> tuple[SearchResult, ...]:
    """``results`` with the chosen one before all others, and with no lower score than they have."""
    best = replace(chosen, score=max(result.score for result in results))
    return (best, *(result for result in results if result.identifier != chosen.identifier))
