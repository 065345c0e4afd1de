"""What is asked of the assistant itself is told from questions on the documents, and answered without the model."""

from __future__ import annotations

import pytest

from assistant.intents import MOST_TITLES, Intent, intent, reply
from evaluation.data import SETS, read_queries, read_questions


@pytest.mark.parametrize(
    ("question", "asked"),
    [
        ("Hello", Intent.GREETING),
        ("hi there!", Intent.GREETING),
        ("Good morning, how are you?", Intent.GREETING),
        ("thanks", Intent.THANKS),
        ("Ok, thank you so much!", Intent.THANKS),
        ("bye", Intent.THANKS),
        ("What can you tell me about?", Intent.TOPICS),
        ("what do you know", Intent.TOPICS),
        ("What can I ask you?", Intent.TOPICS),
        ("Which topics do you have?", Intent.TOPICS),
        ("help", Intent.TOPICS),
        ("Who are you?", Intent.TOPICS),
        ("Summarise everything", Intent.ALL_DOCUMENTS),
        ("please summarize all the documents", Intent.ALL_DOCUMENTS),
        ("Compare all documents.", Intent.ALL_DOCUMENTS),
        ("How many documents are there?", Intent.ALL_DOCUMENTS),
        ("how many documents mention GPT-4?", Intent.ALL_DOCUMENTS),
        ("Give me a summary of the whole knowledge base, please", Intent.ALL_DOCUMENTS),
        ("Hello, what is a foundation model?", None),
        ("What can you tell me about transformers?", None),
        ("thanks, and what about images?", None),
        ("How many parameters does GPT-3 have?", None),
        ("Can models summarise documents?", None),
        ("help me choose a model", None),
        ("Compare LoRA and full fine-tuning", None),
        ("?", None),
    ],
)
def test_what_is_asked_of_the_assistant_itself_is_noticed(question: str, asked: Intent | None) -> None:
    assert intent(question) is asked


def test_no_question_on_documents_is_taken_for_one_on_the_assistant() -> None:
    asked = [query.text for name in SETS for query in read_queries(name)]
    asked += [question.text for question in read_questions("development")]
    assert len(asked) > 1_000
    assert [question for question in asked if intent(question)] == []


def test_the_topics_are_named_by_folder_and_many_are_counted() -> None:
    few = {"": ["About"], "model-makers": ["OpenAI", "Mistral"]}
    assert reply(Intent.TOPICS, few).endswith("\n\n- About\n- Model makers: OpenAI, Mistral")
    assert "3 documents" in reply(Intent.ALL_DOCUMENTS, few)
    many = {"one": [f"Title {n}" for n in range(MOST_TITLES + 5)], "two": ["Last"]}
    assert reply(Intent.TOPICS, many).endswith(f"Title {MOST_TITLES - 1}\n- and 6 more")
    assert "none yet" in reply(Intent.TOPICS, {})
    assert "for instance" not in reply(Intent.GREETING, {})
