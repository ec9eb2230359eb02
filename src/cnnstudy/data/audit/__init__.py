"""The audit: a search for problems that make results on a data set worthless."""
