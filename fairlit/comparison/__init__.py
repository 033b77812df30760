"""Several methods under one judge."""
