"""Nets for phones: LiteRT files, how they answer, and how long they take."""
