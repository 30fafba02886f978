"""Fine-tuning of the base network on a catalogue."""
