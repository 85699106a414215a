"""Engines carry out bundles of runs on machines other than this one. What they need of each other are files."""
