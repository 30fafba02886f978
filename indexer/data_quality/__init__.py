"""Near-duplicates and doubtful labels in a catalogue."""
