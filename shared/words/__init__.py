"""The words of a catalogue: their features, and the embeddings that they stand for."""
