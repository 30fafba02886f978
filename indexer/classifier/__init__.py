"""The classifier over frozen embeddings: trained, calibrated, chosen."""
