"""Modules that join RGB features with height features."""
