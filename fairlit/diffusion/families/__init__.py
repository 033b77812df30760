"""Families of text-to-image models, one file each: what their stock pipelines are made of, and how they run."""
