"""What a user passes, as the engine reads it, and what comes back as the user gave it."""
