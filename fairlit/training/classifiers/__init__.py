"""Training classifiers of perceived attributes."""
