"""What a user may ask for, checked: sizes, layers, losses, devices."""
