"""Runs lesson 1: a cell body or a recipe, from data to report."""
