"""Several networks that predict as one: members, the rows they see, their means, their file."""
