"""What a model writes around what it has to say."""

from __future__ import annotations

import pytest

from assistant.wording import is_whole, plainly, says_not_found


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("the eighth season came in 2019.", "The eighth season came in 2019."),
        ("Yes. The passage states that bread bakes.", "Bread bakes."),
        ("The passage also mentions that bread bakes.", "Bread bakes."),
        ("According to the passage, bread bakes.", "Bread bakes."),
        ("In the passages, it states that bread bakes.", "Bread bakes."),
        ("It also notes that bread bakes.", "Bread bakes."),
        ("Bread bakes [3] slowly [1].", "Bread bakes slowly ."),
        ("bread bakes and that it was first baked here.", "Bread bakes and it was first baked here."),
        ("He holds that bread bakes, and that it rises.", "He holds that bread bakes, and that it rises."),
        ("Bread bakes with this and that in it.", "Bread bakes with this and that in it."),
        ("It bakes this bread and that bread.", "It bakes this bread and that bread."),
        ("Yes.", ""),
        ("Yes", ""),
        ("Yes, bread bakes.", "Yes, bread bakes."),
        ("The law states that bread bakes.", "The law states that bread bakes."),
        ("The documents of the court are lost.", "The documents of the court are lost."),
        ("high-risk systems need a check.", "High-risk systems need a check."),
        ("gpt-2 has 1.5 billion parameters.", "gpt-2 has 1.5 billion parameters."),
        ("iPhone users like it.", "iPhone users like it."),
        ('"Bread bakes."', '"Bread bakes."'),
        ('"Bread bakes.', "Bread bakes."),
        ('bread bakes."', "Bread bakes."),
        ('He called it "bread.', 'He called it "bread.'),
    ],
)
def test_what_stands_around_it_is_taken_off(written: str, plain: str) -> None:
    assert plainly(written) == plain


def test_a_sentence_has_an_end_or_a_marker() -> None:
    assert is_whole("", "Bread bakes.")
    assert is_whole("\n- ", "Bread")
    assert not is_whole("", "Zachary Quinto")
    assert not is_whole("", "Can scientists read the mind of an AI?")


@pytest.mark.parametrize("sentence", ["No.", "Not in the documents.", "It is not in the passages"])
def test_that_nothing_was_found_is_noticed(sentence: str) -> None:
    assert says_not_found(sentence)
    assert not says_not_found(f"{sentence} But bread bakes.")
