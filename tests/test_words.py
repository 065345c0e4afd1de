"""Words: what is searched for, and the numbers and identifiers that must not be mixed up."""

from __future__ import annotations

import pytest

from assistant.words import content_words, identifiers, numbers


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("How does the Kettle boil water? Water, in a KETTLE!", ["kettle", "boil", "water"]),
        ("What is E-1047?", ["e-1047", "e", "1047"]),
        ("Python 3.12 or 3.1", ["python", "3.12", "3", "12", "3.1", "1"]),
        ("the path etc/x-2:80", ["path", "etc/x-2:80", "etc", "x", "2", "80"]),
        ("a well-known fact", ["well", "known", "fact"]),
        ("Where is IT?", ["it"]),
        ("Where is it?", []),
        ("WHERE IS IT?", []),
        ("IT or I", ["it"]),
        ("What was it about?", []),
        ("", []),
        ("?! …", []),
        ("Où est l'été?", ["où", "est", "l", "été"]),
        ("水 をやる", ["水", "をやる"]),
    ],
)
def test_words_to_search_for_are_lower_case_in_order_and_once(text: str, words: list[str]) -> None:
    assert content_words(text) == words


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("twenty-five and Twenty five and 25", {"25"}),
        ("ninety-one", {"91"}),
        ("twenty and five", {"20", "5"}),
        ("1,000.50 euros, 1000 times", {"1000.50", "1000"}),
        ("version 3.12.", {"3.12"}),
        ("two million", {"2", "1000000"}),
        ("one of them, someone", set()),
        ("GPT-4 and E-1047", {"4", "1047"}),
        ("", set()),
    ],
)
def test_numbers_are_the_same_in_words_and_digits(text: str, found: set[str]) -> None:
    assert numbers(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The error E-1047 and GPT-4 (v2.1).", {"e-1047", "gpt-4", "v2.1"}),
        ("1,000 in 2024, well-known, 24-7", set()),
        ("H2O at 10:30", {"h2o"}),
    ],
)
def test_identifiers_mix_letters_and_digits(text: str, found: set[str]) -> None:
    assert identifiers(text) == found
