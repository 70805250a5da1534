"""Mistakes in what several workers do: each of them has to be noticed."""

from planting import Bug

AGREED, CLUSTER, FOLLOWERS = "loop.running.agreed", "loop.workers.cluster", "hooks.checkpoint.workers.followers"
IN_THREADS = [
    Bug("all go as far as the one goes who goes furthest", AGREED, "said[:, 1].min()", "said[:, 1].max()"),
    Bug("each has its own clock", AGREED, "float(said[0, 0])", "float(said[self._workers.rank, 0])"),
    Bug("each has its own reason", AGREED, "            reason = str(self._workers.get(key.format(asking[0])))\n",
        '            reason = "" if wish is None else wish.reason\n'),
    Bug("who asks at once is heard later", AGREED, "at_once=at_once, ", "at_once=False, "),
    Bug("workers at different steps go on", AGREED, "if len(steps := ", "if False and len(steps := "),
    Bug("an exchange of something else counts", CLUSTER, "any(said[:, 0] != place)", "False"),
    Bug("who waits for something else is not seen", "loop.workers.waits", 'if said["at"] != at:', "if False:"),
    Bug("what others hold is not compared before a commit", FOLLOWERS,
        "return compare if self.are_several else lambda mine: {}", "return lambda mine: {}"),
    Bug("what others keep in Python is not compared", FOLLOWERS, "{**of_variables, **in_python}", "of_variables"),
    Bug("only the last of the others is compared", FOLLOWERS, "range(1, self._workers.count)",
        "[self._workers.count - 1]"),
    Bug("what was told of a save stays for ever", "hooks.checkpoint.workers.told", "self._workers.remove(key)", "pass"),
    Bug("what others have for themselves is that of the last one", FOLLOWERS,
        "unpacked(heard(self._workers, key, PATIENCE))",
        "unpacked(heard(self._workers, self._key(number, self._workers.count - 1), PATIENCE))"),
    Bug("what was heard is told until the next save", FOLLOWERS, "self._unread = number + 1", "pass"),
    Bug("some rows are trained twice", "loop.workers.rows", "rows * (self._rank + 1) // self.count",
        "-(-rows * (self._rank + 1) // self.count)"),
]  # fmt: skip
IN_PROCESSES = [
    Bug("the others restore an older checkpoint", FOLLOWERS, "store.pin(stem)", "store.pin(store.stems()[0])"),
    Bug("the others restore nothing", FOLLOWERS, "        if stem is not None:\n", "        if False:\n"),
    Bug("a gradient is that of one worker", "loop.workers.sums",
        "        means = self.workers.collective.sum(weighted, of_any_shape=True, mean=mean)",
        "        means = [tf.identity(each) for each in weighted]"),
    Bug("a metric has the rows of one worker", "loop.workers.together",
        "            variable.assign(then + tf.cast(next(found), variable.dtype))",
        "            variable.assign_add(then + 0 * tf.cast(next(found), variable.dtype))"),
    Bug("the first one alone begins anew", "hooks.checkpoint.hook", "self._workers.announce(restored)",
        "self._workers.announce(None)"),
]  # fmt: skip
