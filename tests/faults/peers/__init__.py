"""The lab's faults on other systems, which replicate a source's state in their most natural way."""
