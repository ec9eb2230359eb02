"""The audit: findings that make results on a data set worthless."""
