"""Rebuilds on several machines: stages as tasks of a Dask cluster, with their results in one workspace."""
