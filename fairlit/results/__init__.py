"""What is measured, as records and tables."""
