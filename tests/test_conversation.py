"""A question that leans on the conversation is searched with the question before it; another is searched alone."""

from __future__ import annotations

import pytest

from assistant.conversation import PREVIOUS_CHARACTERS, leans, standalone
from assistant.schemas import Turn

BEFORE = (Turn("user", "How do transformers work?"), Turn("assistant", "By attention."))


def alike(_: str) -> float:
    """Nothing is nearer than anything else."""
    return 0.5


@pytest.mark.parametrize(
    "question",
    [
        "And for images?",
        "What did they find?",
        "How do you measure?",
        "But why?",
        "why not?",
        "What about language models?",
        "How about code?",
        "How do they differ from recurrent neural networks in training?",
        "Who invented it in the first place and when was that?",
        "Which of these approaches needs the least training data overall?",
        "Is the latter cheaper to train on modern accelerator hardware?",
        "Training cost?",
        "Is it better than BERT at long documents with many pages?",
        "Is it easy to run on a laptop without a graphics card?",
        "How much does it cost in a large company with many users?",
        "Is it safe to use in a hospital with patient records?",
        "Is it worth using for a small company with little data?",
        "Is it legal to do that in Germany, France or Italy?",
        "how?",
        "Why is that?",
        "And why would a hospital still want its own medical AI when the all-purpose ones score just as well?",
        "What is it, and does it work?",
        "What is the price, and is it worth it?",
        "?",
        "...and then?",
    ],
)
def test_a_question_that_leans_takes_the_question_before_it_along(question: str) -> None:
    assert leans(question)
    assert standalone(question, BEFORE, alike) == f"How do transformers work? {question}"


@pytest.mark.parametrize(
    "question",
    [
        "What is pre-training?",
        "What are foundation models?",
        "What's a token?",
        "Who is Vaswani?",
        "Define hallucination",
        "Explain fine-tuning",
        "what does zero shot mean",
        "How do transformers work?",
        "whats rag",
        "How do vision models learn from unlabelled pictures?",
        "Which companies train large language models today?",
        "Can a chatbot leak my company's secrets if I paste them in?",
        "Is it legal to train on copyrighted books in Germany?",
        "Is it true that quantisation never costs quality?",
        "How much does it cost to train a big model, and why?",
        "How long would it take to read every book of a library?",
        "Would it be normal to see a graphics card with more memory run hot?",
        "Why do chatbots make things up?",
        "what does quantization do to my model, is it still as clever?",
        "what does quantization do to my model, is it good and does it cost much?",
        "Why would a hospital still want its own medical AI when the all-purpose ones score just as well?",
        "Which companies trained language models on licensed text before that was asked for?",
        "These helpers that write programs all on their own, what exactly do they do the whole day in a firm?",
    ],
)
def test_a_question_that_stands_alone_is_left_as_it_is(question: str) -> None:
    assert not leans(question)
    assert standalone(question, BEFORE, alike) == question


@pytest.mark.parametrize("question", ["And for images?", "What is pre-training?", "it"])
@pytest.mark.parametrize("conversation", [(), (Turn("assistant", "Hello."),), (Turn("user", " \n "),)])
def test_without_a_question_before_it_every_question_stands_alone(
    question: str, conversation: tuple[Turn, ...]
) -> None:
    assert standalone(question, conversation, alike) == question


def test_the_last_question_counts_and_becomes_one_line() -> None:
    conversation = (*BEFORE, Turn("user", "  What is\n\n a token? "), Turn("assistant", "A piece."))
    assert standalone("And why?", conversation, alike) == "What is a token? And why?"


@pytest.mark.parametrize("before", ["word " * 10_000, "x" * 10_000])
def test_of_a_long_question_before_the_beginning_is_taken(before: str) -> None:
    asked = standalone("And for images?", (Turn("user", before),), alike)
    assert asked.endswith(" And for images?")
    assert PREVIOUS_CHARACTERS - 10 < len(asked) <= PREVIOUS_CHARACTERS + len(" And for images?")


@pytest.mark.parametrize(
    ("alone", "before", "is_new"),
    [
        (0.83, 0.7, True),
        (0.7, 0.7, False),
        # less near alone, but joined the two lose what the one before was about
        (0.66, 0.89, True),
        # a question on the same thing costs the one before little
        (0.62, 0.75, False),
    ],
)
def test_what_the_documents_are_nearer_to_alone_is_searched_alone(alone: float, before: float, is_new: bool) -> None:
    near = {"Who made BERT?": alone, "What is RAG?": before, "What is RAG? Who made BERT?": 0.7}
    found = standalone("Who made BERT?", (Turn("user", "What is RAG?"),), near.__getitem__)
    assert found == ("Who made BERT?" if is_new else "What is RAG? Who made BERT?")
