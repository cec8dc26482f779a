"""What a person sees: live progress, the state of the machine, the pictures of the docs."""
