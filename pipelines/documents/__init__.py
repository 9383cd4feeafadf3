"""The document pipeline: pages in, pruned tokens and text masks out."""
