"""Turns a catalogue of product images into a published snapshot."""
