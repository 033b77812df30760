"""What a run would do, said before any weights are loaded."""
