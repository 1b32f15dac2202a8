# NODE: removes the reservation of a node, and the folder with the last one.
set -eu
cd
rm -f ".erl-deploy/reservations/$1"
rmdir .erl-deploy/reservations .erl-deploy 2>/dev/null || :
