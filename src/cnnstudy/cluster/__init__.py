"""Rebuilds on several machines: stages as tasks of a Dask cluster, with results in one workspace."""
