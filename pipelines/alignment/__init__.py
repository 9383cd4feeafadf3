"""Training of the alignment of images with text: images and captions in, an alignment package out."""
