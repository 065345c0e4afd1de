"""Whether the model hub can be asked, found out within seconds instead of after a minute of retries.

This module knows nothing of models; who uses the hub decides what to do without it.
"""

from __future__ import annotations

import os

import httpx

SECONDS = 5.0
"""A hub that has not answered by then counts as out of reach."""


def address() -> str:
    """The hub's address, without a slash at its end."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def answers(repository: str) -> bool:
    """Whether the hub can be reached and has this repository."""
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}:
        return False
    try:
        reply = httpx.get(f"{address()}/api/models/{repository}", timeout=SECONDS, follow_redirects=True)
    except httpx.HTTPError:
        return False
    return reply.status_code == httpx.codes.OK
