"""A question → ranked passages, and whether a passage supports a sentence."""
