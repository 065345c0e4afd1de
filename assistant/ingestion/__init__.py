"""A folder of documents → chunks in an index."""
