"""The document encoder: pages to dense features in a space that text tokens are embedded in too (TokenFD)."""
