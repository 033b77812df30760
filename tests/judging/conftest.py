"""Folders of plain pictures, and a judge that reads their colour."""

from coloured_folders import colour_folder, judge

__all__ = ["colour_folder", "judge"]
