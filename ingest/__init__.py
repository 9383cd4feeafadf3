"""From bytes to aligned windows of pixels."""
