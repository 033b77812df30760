"""Linear solvers, weights of their steps, guidance and keyed noise."""
