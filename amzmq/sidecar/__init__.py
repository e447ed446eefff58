"""The sidecar daemon: a machine beside an application of any language, and HTTP to reach it.

`daemon` runs it all; `config` says what, `jobs` what a job is, `http` is the local interface.
Nothing is imported here, so that reading a configuration needs none of the extra's packages.
"""
