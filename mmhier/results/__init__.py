"""What inference returns, typed, and the files that are made of it."""
