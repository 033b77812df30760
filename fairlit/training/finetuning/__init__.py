"""Finetuning the text-to-image model: one training step, in parts."""
