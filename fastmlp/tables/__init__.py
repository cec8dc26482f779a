"""Tables of every common format behind one protocol."""
