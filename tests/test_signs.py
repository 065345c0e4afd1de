"""What the beginnings of answers tell: which words are taken, and what they weigh."""

from __future__ import annotations

import numpy as np
import pytest

from assistant.prompting import NO, SIGNS, YES
from evaluation import signs
from evaluation.signs import WORDS, Numbers


@pytest.fixture
def logits() -> Numbers:
    """Of 200 looks, the even ones of which answer: "Indeed" tells much of that, "Yes" a little, other words nothing."""
    draw = np.random.default_rng(0)
    found = draw.normal(size=(200, len(WORDS)))
    found[::2, WORDS.index("Indeed")] += 3
    found[::2, WORDS.index(YES)] += 1.5
    return found


ANSWERS = np.arange(200) % 2 == 0


def test_words_that_tell_weigh_and_others_do_not(logits: Numbers) -> None:
    found = signs.weights(logits, ANSWERS)
    assert found["Indeed"] > found[YES] > max(found[word] for word in WORDS if word not in ("Indeed", YES))
    alone, together = (signs._told_apart(logits, ANSWERS, words) for words in ([YES, NO], WORDS))
    assert together > 0.9 > alone > 0.5


def test_the_weights_sum_to_nothing(logits: Numbers) -> None:
    for found in (signs.weights(logits, ANSWERS), SIGNS):
        assert sum(found.values()) == pytest.approx(0, abs=0.001)
