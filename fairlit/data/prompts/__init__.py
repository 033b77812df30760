"""Prompts: families, files, splits, and the datamodule that deals them out."""
