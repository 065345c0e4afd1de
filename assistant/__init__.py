"""Groundwork: answers about foundation models, from documents, with the evidence shown.

The public names. Heavy parts (torch, gradio, faiss) are imported when they are used, so this import is instant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from assistant.errors import (
    AssistantError,
    KnowledgeError,
    KnowledgeIndexError,
    ModelError,
    QuestionError,
    ServerError,
    SettingsError,
    WeightsError,
)
from assistant.schemas import Answer, Chunk, Citation, Document, Finished, Found, SearchResult, Sentence, Turn
from assistant.settings import Settings

if TYPE_CHECKING:
    from assistant.pipeline import Assistant

__all__ = [
    # the assistant and its settings
    "Assistant",
    "Settings",
    # what goes in and comes out
    "Answer",
    "Chunk",
    "Citation",
    "Document",
    "SearchResult",
    "Turn",
    # events of a stream
    "Finished",
    "Found",
    "Sentence",
    # errors
    "AssistantError",
    "KnowledgeError",
    "KnowledgeIndexError",
    "ModelError",
    "QuestionError",
    "ServerError",
    "SettingsError",
    "WeightsError",
]


def __getattr__(name: str) -> Any:
    """Import `Assistant` when it is first asked for."""
    if name == "Assistant":
        from assistant.pipeline import Assistant

        return Assistant
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
