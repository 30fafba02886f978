"""Memory, disk, cores, hours and machines that a catalogue of some size takes."""
