"""Files and frames: tables of every common format behind one protocol, and model files."""
