"""Editing of a model's weights in closed form, led by what its images show."""
