"""The drawn-face world and the builder of the embedded models."""
