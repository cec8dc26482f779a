"""Files that networks are kept in."""
