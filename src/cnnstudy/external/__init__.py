"""External test sets: images from elsewhere, on which nets are tested that were trained on a study's images."""
