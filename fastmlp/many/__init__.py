"""Many networks in one call: what they are given, the tables they share, the queue of fits."""
