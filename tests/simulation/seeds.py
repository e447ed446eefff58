"""Seeds that have found something: they are run for ever.

A seed means the steps that `steps.plan` makes of it. Whoever changes the plans looks for others
that find the same: undo the mending, and run `python -m tests.simulation`.
"""

FOUND: dict[int, str] = {
    0: "a replica showed an empty clock between a source's restart and the first snapshot",
    12: "a call made while its client was being stopped never ended",
    14: "a wait was lost for good when the queue to the source was full",
    29: "a call made while its client was being stopped never ended",
    31: "a payload overtook the states that it follows when a snapshot came between",
    234: "a payload for one client was confirmed as an older source's, and never given out",
    259: "a retry reached the successor of a dead source, which ran the mutation again",
    328: "a wait was lost for good when the queue to the source was full",
    1685: "a payload for one client was given out by an older source's count of messages",
}
