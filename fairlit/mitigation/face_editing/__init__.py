"""Making chosen faces of finished images anew."""
