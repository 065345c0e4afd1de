"""Tokens → the text that each adds. This module knows no model."""

from __future__ import annotations

from collections.abc import Callable, Sequence


class GrowingText:
    """The text of tokens that come one by one.

    Args:
        text_of: the text of all tokens so far.
    """

    def __init__(self, text_of: Callable[[Sequence[int]], str]) -> None:
        self._text_of = text_of
        self._tokens: list[int] = []
        self._shown = 0

    def add(self, token: int) -> str:
        """What ``token`` adds; nothing while a character lacks some of its tokens."""
        self._tokens.append(token)
        text = self._text_of(self._tokens)
        # until its last token has come, a character shows as U+FFFD
        if text.endswith("\ufffd"):
            return ""
        grown = text[self._shown :]
        self._shown += len(grown)
        return grown
