"""Drawn data that stands in for data sets that cannot be shipped."""
