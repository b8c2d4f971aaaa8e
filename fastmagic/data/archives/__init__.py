"""Unpacks zips and tars: safely, whole or not at all."""
