"""The ``repl`` command: many machines at once, from a shell, a script or one line.

targets      what the user named: an address, a file, a folder
entry        a machine there, and the client that follows it
machines     all of them, as they come and go
filters      which of them
commands     the commands, as values
parser       the parser of one command
options      what several parsers have in common
parsing      a line becomes a command
interpreter  a command is run, its outcome reported
render       an outcome as text
screen       the text on the terminal
completion   what may come next on a line
shell        prompt, history, Ctrl-C
command      the options of ``amzmq repl``
"""
