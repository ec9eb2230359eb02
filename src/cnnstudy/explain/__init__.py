"""Saliency: the parts of an image that a net's prediction depends on."""
