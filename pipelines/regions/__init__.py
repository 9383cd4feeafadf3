"""Regions: from the masks of a whole image to its connected areas, in memory that does not grow with its height."""
