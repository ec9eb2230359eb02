"""Trainings on other splits of a study's images, outside of the stages."""
