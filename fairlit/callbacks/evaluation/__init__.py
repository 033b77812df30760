"""Parts of `FaceEvaluation`, one trade each: measuring, grouping, logging, pictures, the summary, and printing."""
