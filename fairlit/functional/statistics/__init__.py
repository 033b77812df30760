"""Counts, distances, intervals and tests of an audit."""
