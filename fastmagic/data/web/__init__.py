"""Fetches an archive over the web: resumed, retried, verified while it comes."""
