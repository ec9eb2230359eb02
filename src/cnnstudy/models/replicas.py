"""Sums and means over the replicas of a net on several devices."""

from collections.abc import Sequence

import tensorflow as tf


def reduced(kind: tf.distribute.ReduceOp, values: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Return, within a replica, sums or means of values over all replicas; the values themselves if there is only one.

    TensorFlow's own `all_reduce` has a gradient, which is not needed here but keeps the step's graph, the net and the
    moments of every training in the process in memory.
    """
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return list(values)

    def merged(strategy: tf.distribute.Strategy, *tensors: tf.Tensor) -> list[tf.Tensor]:
        return list(strategy.extended.batch_reduce_to(kind, [(tensor, tensor) for tensor in tensors]))

    return list(replica.merge_call(merged, args=tuple(values)))
