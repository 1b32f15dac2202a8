package proc

import (
	"os"
	"path/filepath"
)

// enterRoot mounts what programs want to see in a mount namespace of its own, so
// that nothing stays mounted when the command ends, and then becomes the command.
const enterRoot = `set -e
root=$1 tmp=$2 dir=$3
shift 3
mount --rbind /proc "$root/proc"
mount --rbind /dev "$root/dev"
mkdir -p "$root$tmp"
mount --bind "$tmp" "$root$tmp"
mount --bind /etc/hosts "$root/etc/hosts"
exec chroot "$root" /bin/sh -c 'cd "$1" && shift && exec "$@"' sh "$dir" "$@"`

// InRoot gives the command that runs argv in dir with root as its file system;
// argv itself where root is "". The directory for temporary files has the same path
// inside. Without the rights of root it takes a user namespace.
func InRoot(root, dir string, argv []string) []string {
	if root == "" {
		return argv
	}
	enter := []string{"unshare", "--mount", "--propagation", "private"}
	if os.Geteuid() != 0 {
		enter = append(enter, "--map-root-user")
	}
	enter = append(enter, "/bin/sh", "-c", enterRoot, "sh", root, filepath.Clean(os.TempDir()), dir)
	return append(enter, argv...)
}
