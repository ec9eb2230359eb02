"""Occlusion: the accuracy of nets on images of which a part is hidden, or of which only a part is left."""
