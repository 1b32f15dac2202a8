# NODE: removes the reservation of a node, and with the last one what is left.
set -eu
cd
rm -f ".erl-deploy/reservations/$1"
# Nodes that are deleted at the same time each take the others for nodes that
# may need the archives yet; the last one to go knows better.
if rmdir .erl-deploy/reservations 2>/dev/null; then
  rmdir .erl-deploy/nodes 2>/dev/null || :
  [ -e .erl-deploy/nodes ] || rm -rf .erl-deploy/archives
fi
rmdir .erl-deploy 2>/dev/null || :
