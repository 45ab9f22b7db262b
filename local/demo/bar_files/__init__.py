"""Files of one-minute bars: recognises what vendors write, reads it as bars, and writes our own format."""
