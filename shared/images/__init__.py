"""From the bytes of an image file to the encoder's input."""
