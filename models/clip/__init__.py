"""Image and text towers that share one space (CLIP, Radford et al. 2021): packages, dense tokens, embeddings of phrases."""
