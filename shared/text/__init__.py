"""Text: shortened values for messages, and Unicode normal forms."""
