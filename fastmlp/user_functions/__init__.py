"""Activations and losses that users register."""
