"""Learning from the words that a catalogue says of its items."""
