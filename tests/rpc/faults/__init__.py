"""The faults that spec rpc 10.3 lists, each with tests that fail when our code has it."""
