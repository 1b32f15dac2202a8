package cloud

import (
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// SettingHostKey says where the host key of a new machine is learnt from.
const SettingHostKey = "host_key"

// The sources of host keys.
const (
	// HostKeyConsole reads it from the console output, where cloud-init prints
	// it at the first boot.
	HostKeyConsole = "console"
	// HostKeyCloudInit lets cloud-init install one that we made.
	HostKeyCloudInit = "cloud-init"
	// HostKeyNone leaves it to the known_hosts files.
	HostKeyNone = "none"
)

// HostKeys reads the setting.
func (s *Settings) HostKeys() string {
	return s.OneOf(SettingHostKey, HostKeyConsole, HostKeyConsole, HostKeyCloudInit, HostKeyNone)
}

const (
	beginKeys = "-----BEGIN SSH HOST KEY KEYS-----"
	endKeys   = "-----END SSH HOST KEY KEYS-----"
)

// keyLine is a key as cloud-init prints it; some consoles put the time or a
// mark before it.
var keyLine = regexp.MustCompile(`\b((?:ssh|ecdsa)-[a-z0-9-]+) (AAAA[A-Za-z0-9+/]+={0,2})`)

// ConsoleHostKeys finds the host keys that cloud-init printed on a console, as
// lines of authorized_keys; nil when they are not all there yet. The first
// block counts: it is of the boot, before anybody else could write.
func ConsoleHostKeys(output string) []string {
	_, after, found := strings.Cut(output, beginKeys)
	block, _, ended := strings.Cut(after, endKeys)
	if !found || !ended {
		return nil
	}
	var keys []string
	for _, m := range keyLine.FindAllStringSubmatch(block, -1) {
		if key := m[1] + " " + m[2]; !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys
}

// Consoles remembers the host keys of machines and when to look for them again:
// a console is asked less and less often, and a key only once.
type Consoles struct {
	Now func() time.Time

	mu       sync.Mutex
	machines map[string]*console
}

type console struct {
	keys  []string
	next  time.Time
	pause time.Duration
}

// maxConsolePause is the longest time between two looks at a console.
const maxConsolePause = 15 * time.Second

// Keys returns the keys of a machine that are known, and whether its console
// should be asked now.
func (c *Consoles) Keys(id string) (keys []string, ask bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.machines[id]
	if m == nil {
		return nil, true
	}
	return m.keys, m.keys == nil && !c.Now().Before(m.next)
}

// Put notes what a console showed.
func (c *Consoles) Put(id string, keys []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.machines == nil {
		c.machines = map[string]*console{}
	}
	m := c.machines[id]
	if m == nil {
		m = &console{pause: time.Second}
		c.machines[id] = m
	}
	m.keys, m.pause = keys, min(2*m.pause, maxConsolePause)
	// The deployer comes every two seconds: a little sooner, so that it does
	// not come in vain.
	m.next = c.Now().Add(m.pause - 500*time.Millisecond)
}

// Forget ends to remember a machine.
func (c *Consoles) Forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.machines, id)
}
