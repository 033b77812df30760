"""File formats of adaptors, one file a format: tensors and header strings to the same, without touching a disk."""
