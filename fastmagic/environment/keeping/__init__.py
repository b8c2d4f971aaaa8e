"""Keeps what an installation changes, and puts it back."""
