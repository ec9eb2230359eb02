"""Data the project draws itself: faces from action units, chest films from thickness maps."""

FACES = ("anger", "contempt", "disgust", "fear", "happy", "neutral", "sad", "surprise")
FILMS = ("normal", "covid")
