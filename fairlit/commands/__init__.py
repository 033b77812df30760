"""Subcommands of ``fairlit`` beside those of Lightning's Trainer: one module each, which offers `run(args)`."""
