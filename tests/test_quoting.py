"""Which sentences are quoted: most of the passage that was read, the rest by nearness, in the order of the text."""

from __future__ import annotations

import pytest

from assistant import quoting
from assistant.grounding import EvidenceSentence
from assistant.quoting import FEWEST, OF_THE_FIRST, quotes
from assistant.schemas import Chunk

READ, OTHER, THIRD, FOURTH = (Chunk(f"{name}.md", name, (), "Words. " * 20, 1, 1) for name in "abcd")


def sentence(chunk: Chunk, number: int) -> EvidenceSentence:
    return EvidenceSentence(chunk, 7 * number, 7 * number + 6)


def test_most_are_of_the_passage_that_was_read_even_if_others_are_nearer() -> None:
    near = [*((sentence(OTHER, i), 0.9) for i in range(9)), *((sentence(READ, i), 0.1) for i in range(9))]
    own, others = quotes(near, [READ, OTHER], [], 0)
    assert [s.chunk for s in own] == [READ] * OF_THE_FIRST
    assert [s.chunk for s in others] == [OTHER] * (FEWEST - OF_THE_FIRST)


def test_what_the_answer_cites_of_that_passage_counts() -> None:
    near = [*((sentence(OTHER, i), 0.9) for i in range(9)), *((sentence(READ, i), 0.1) for i in range(9))]
    cited = [sentence(READ, 10 + i) for i in range(OF_THE_FIRST)]
    own, others = quotes(near, [READ, OTHER], cited, OF_THE_FIRST)
    assert (own, [s.chunk for s in others]) == ([], [OTHER] * (FEWEST - OF_THE_FIRST))


def test_each_passage_is_quoted_in_the_order_of_its_text() -> None:
    near = [(sentence(READ, 4), 0.9), (sentence(OTHER, 3), 0.8), (sentence(READ, 1), 0.7), (sentence(OTHER, 0), 0.6)]
    own, others = quotes(near, [READ, OTHER], [], 0)
    assert own == [sentence(READ, 1), sentence(READ, 4)]
    assert others == [sentence(OTHER, 0), sentence(OTHER, 3)]


@pytest.mark.parametrize(("shown", "count"), [(0, FEWEST), (FEWEST - 1, 1), (FEWEST, 0), (FEWEST + 3, 0)])
def test_an_answer_is_filled_up_and_no_more(shown: int, count: int) -> None:
    own, others = quotes([(sentence(READ, i), 0.9) for i in range(9)], [READ], [], shown)
    assert (len(own), others) == (count, [])


def test_a_far_sentence_is_quoted_of_no_passage_but_the_one_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quoting, "QUOTE_DISTANCE", 0.1)
    near = [(sentence(READ, 0), 0.45), *((sentence(chunk, 1), 0.3) for chunk in (READ, OTHER, THIRD, FOURTH))]
    own, others = quotes(near, [READ, OTHER, THIRD, FOURTH], [], 0)
    assert ([s.chunk for s in own], others) == ([READ, READ], [])
    # strange words are far from everything: what is hardly farther than the nearest will do, but not of the fourth
    near = [(s, 0.4) for s, _ in near]
    own, others = quotes(near, [READ, OTHER, THIRD, FOURTH], [], 0)
    assert [s.chunk for s in (*own, *others)] == [READ, READ, OTHER, THIRD]


def test_where_nothing_is_new_nothing_is_quoted() -> None:
    assert quotes([], [READ], [], 0) == ([], [])
