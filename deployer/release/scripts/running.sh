# NODE: tells whether a node has processes.
[ -z "$(marked "$1")" ] || echo running
