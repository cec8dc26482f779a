"""What users hold: a network, its parameters, its predictions, its file."""
