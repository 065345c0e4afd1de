"""Which first questions point at something that nobody has named."""

from __future__ import annotations

import pytest

from assistant.pointing import points_at_nothing
from assistant.schemas import Turn


@pytest.mark.parametrize(
    "question",
    [
        "How does it work?",
        "who made it",
        "how much do they cost?",
        "In which country is this language spoken?",
        "What is the price of that model?",
        "tell me about this paper",
    ],
)
def test_pointing(question: str) -> None:
    assert points_at_nothing(question, ())
    assert not points_at_nothing(question, (Turn("user", "What is Welsh?"), Turn("assistant", "A language.")))


@pytest.mark.parametrize(
    "question",
    [
        "How does GPT-4 work, and who made it?",
        "What is transfer learning and why does it help?",
        "how do transformers work and who invented them",
        "What is an LLM and how does it work?",
        "What is attention and how is it used?",
        "How does quantization work and who made it?",
        "How are these models trained?",
        "Are these systems biased?",
        "What is the price of that model? (AI agents)",
        "How does it work? (embeddings)",
        "why do models hallucinate this way?",
        "how many languages was that starcoder thing taught?",
        "they let one bot grade the other bots now, is that fair?",
        "my boss read that chatbots lie, is that so often the case that we should tell our customers?",
        "Who was Claude Shannon and what did he do?",
    ],
)
def test_not_pointing(question: str) -> None:
    assert not points_at_nothing(question, ())
