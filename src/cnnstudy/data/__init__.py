"""From sources to images, samples, splits and augmentation plans."""
