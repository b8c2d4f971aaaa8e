"""Decides what to install: plain data in, a plan out; touches nothing."""
