"""Looks at a folder of pictures: layout, readability, duplicates, the card."""
