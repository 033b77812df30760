"""Files: atomic writes, digests, JSON, and model folders looked at before anything is loaded."""
