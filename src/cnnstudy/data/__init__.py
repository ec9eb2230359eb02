"""Data sets: sources, images, samples, splits and augmentation policies."""
