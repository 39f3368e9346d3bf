"""Models by name: their configs and their weights."""
