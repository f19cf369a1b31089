"""Runs on disk: the records' schema, their writer and reader, lineages, and whether a run is alive."""
