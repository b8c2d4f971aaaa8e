"""Finds, downloads, unpacks, checks and shows data sets."""
