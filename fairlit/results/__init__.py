"""Typed, versioned records of what fairlit measures and does."""
