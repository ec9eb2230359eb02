"""What the copies of a net on several devices have, each of its own share of a batch, as one."""

from collections.abc import Sequence

import tensorflow as tf


def reduced(kind: tf.distribute.ReduceOp, values: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Sums or means over the copies, in a copy; the values themselves where there is one.

    TensorFlow's own `all_reduce` has a gradient, which nobody needs here, and for that keeps the step's graph for good,
    and with it the net and the moments, of every training that a process makes.
    """
    copy = tf.distribute.get_replica_context()
    if copy is None or copy.num_replicas_in_sync == 1:
        return list(values)

    def merged(strategy: tf.distribute.Strategy, *each: tf.Tensor) -> list[tf.Tensor]:
        return list(strategy.extended.batch_reduce_to(kind, [(one, one) for one in each]))

    return list(copy.merge_call(merged, args=tuple(values)))
