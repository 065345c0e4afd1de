"""Scripts that fit what the assistant ships."""
