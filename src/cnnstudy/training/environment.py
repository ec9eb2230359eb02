"""TensorFlow's settings, made before it is imported, so that the same machine gives the same bits."""

import os


def configure(threads: int) -> None:
    """Pin threads and oneDNN, and make TensorFlow's operations deterministic.

    Another number of threads sums in another order and gives other bits; so do other CPU features.
    """
    os.environ["TF_NUM_INTRAOP_THREADS"] = str(threads)
    os.environ["TF_NUM_INTEROP_THREADS"] = str(threads)
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"
    os.environ["KERAS_BACKEND"] = "tensorflow"
    # What stops a training is raised as an exception too; the rest is noise of every start.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()
