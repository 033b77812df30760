"""Assignment of target classes by optimal transport, and what must change for a set of faces to follow a target."""
