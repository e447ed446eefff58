"""``amzmq demo``: one source, many follower processes, and a check that all of them agree."""
