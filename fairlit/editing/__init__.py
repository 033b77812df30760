"""Folders of finished images brought to a target: what ``fairlit edit`` does."""
