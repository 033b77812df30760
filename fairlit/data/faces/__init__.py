"""Labelled photographs of faces, for training classifiers."""
