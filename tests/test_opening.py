"""Opening: which sentence of the documents may stand first in an answer."""

from __future__ import annotations

import pytest

from assistant.claims import Stated
from assistant.opening import asks_what_it_is, defines, opens

MODELS = Stated("GPT-3 has 175 billion parameters.", "Models", "")


def test_a_sentence_opens_an_answer_when_it_speaks_of_what_the_question_names() -> None:
    assert opens("How many parameters has GPT-3?", MODELS)
    assert opens("how many parameters does an AI model have", MODELS)
    assert not opens("How many parameters has GPT-4?", MODELS)
    assert not opens("how many parameters did gpt-4 have", MODELS)
    assert not opens("How many parameters do models of Google have?", MODELS)
    assert not opens("Which models have 70 billion parameters?", MODELS)
    assert not opens("How many parameters has GPT-3?", Stated("It has 175 billion parameters.", "GPT-3", ""))
    assert not opens("How many parameters has GPT-3?", Stated("GPT-3 has 175 billion parameters", "Models", ""))


@pytest.mark.parametrize(
    ("question", "asks"),
    [
        ("What is attention?", True),
        ("what does RAG mean", True),
        ("whats text2sql", True),
        ("What are foundation models?", True),
        ("what is a foundation model in plain words?", True),
        ("What is RAG, in a nutshell?", True),
        ("what does lora mean for beginners, please", True),
        ("what is the best model in English law", False),
        ("Define mixture of experts", False),
        ("What is the capital of France?", False),
        ("what does lora cost", False),
        ("Who is Vaswani?", False),
    ],
)
def test_it_is_noticed_when_a_definition_is_asked_for(question: str, asks: bool) -> None:
    assert asks_what_it_is(question) is asks


@pytest.mark.parametrize(
    ("sentence", "is_one"),
    [
        ("Tokenisation, also spelled tokenization, is the step that cuts a text into tokens.", True),
        ("Few-shot learning means that a few examples are enough.", True),
        ("RAG was presented in May 2020.", False),
        ("Whether a large model is a copy depends on the court.", False),
        ("Tokenisers are fixed before training.", False),
    ],
)
def test_a_definition_is_told_from_other_sentences(sentence: str, is_one: bool) -> None:
    assert defines(sentence) is is_one
