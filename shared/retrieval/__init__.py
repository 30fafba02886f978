"""One search, from embeddings to ranked hits."""
