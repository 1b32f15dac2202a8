# Begins every script: messages in English, the user's home as the working
# directory. What the user's profile printed is before the mark.
set -eu
cd
LC_ALL=C
export LC_ALL
umask 022
base=.erl-deploy
# later MESSAGE: it may pass. never MESSAGE: it does not pass by itself.
later() { printf '\036%s\n' "$*" >&2; exit 75; }
never() { printf '\036%s\n' "$*" >&2; exit 65; }
printf '\036erl-deploy\036\n'
