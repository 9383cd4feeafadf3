"""Tokens of rasters: windows encoded, blended on one grid per image, reduced, and stored with their original indices."""
