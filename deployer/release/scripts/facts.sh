uname -s
uname -m
uname -n
df -Pk . | { read -r _; read -r _ _ _ free _; printf '%s\n' "$free"; }
