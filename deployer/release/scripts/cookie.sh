# NODE: puts standard input where the node's Erlang looks for its cookie.
home=$base/nodes/$1/home
umask 077
rm -f "$home/.erlang.cookie.new"
cat >"$home/.erlang.cookie.new"
chmod 400 "$home/.erlang.cookie.new"
mv -f "$home/.erlang.cookie.new" "$home/.erlang.cookie"
