"""Partitions whose vectors are in Milvus."""
