"""The web: a chat page on Gradio, pages that open a document at a place, and the routes beside them."""
