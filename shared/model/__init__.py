"""The exported encoder, the classifier over its embeddings, and OOD detection."""
