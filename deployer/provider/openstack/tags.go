package openstack

import (
	"strconv"
	"strings"
	"time"

	"github.com/erlops/erlops/deployer/provider"
)

// prefix begins the names of all that is ours.
const prefix = "erl-deploy-"

// The keys of a server's metadata.
const (
	metaOwner   = prefix + "owner"
	metaFamily  = prefix + "family"
	metaNode    = prefix + "node"
	metaToken   = prefix + "token"
	metaUser    = prefix + "user"
	metaHostKey = prefix + "host-key"
	metaSource  = prefix + "host-key-source"
	metaNetwork = prefix + "address-network"
)

func tagOf(meta map[string]string) provider.Tag {
	return provider.Tag{Owner: meta[metaOwner], FamilyID: meta[metaFamily], NodeID: meta[metaNode]}
}

// nameOf names what a family has.
func nameOf(t provider.Tag) string { return prefix + t.FamilyID }

// description is where a tag is kept by what has no metadata.
func description(t provider.Tag, server string) string {
	text := "erl-deploy owner=" + t.Owner + " family=" + t.FamilyID
	if t.NodeID != "" {
		text += " node=" + t.NodeID + " server=" + server
	}
	return text
}

// parseDescription is the reverse; ok is false for what is not ours.
func parseDescription(text string) (t provider.Tag, server string, ok bool) {
	rest, ok := strings.CutPrefix(text, "erl-deploy ")
	if !ok {
		return t, "", false
	}
	for field := range strings.FieldsSeq(rest) {
		key, value, _ := strings.Cut(field, "=")
		switch key {
		case "owner":
			t.Owner = value
		case "family":
			t.FamilyID = value
		case "node":
			t.NodeID = value
		case "server":
			server = value
		}
	}
	return t, server, t.Owner != ""
}

// markKey puts tag and time into a public key's comment: key pairs have no
// place of their own for it.
func markKey(public string, t provider.Tag, now time.Time) string {
	fields := strings.Fields(public)
	return strings.Join(fields[:min(2, len(fields))], " ") + " erl-deploy/" + t.Owner + "/" + t.FamilyID + "/" + strconv.FormatInt(now.Unix(), 10)
}

func parseKey(public string) (t provider.Tag, at time.Time, ok bool) {
	fields := strings.Fields(public)
	if len(fields) != 3 {
		return t, at, false
	}
	parts := strings.Split(fields[2], "/")
	if len(parts) != 4 || parts[0] != "erl-deploy" {
		return t, at, false
	}
	seconds, err := strconv.ParseInt(parts[3], 10, 64)
	if err != nil {
		return t, at, false
	}
	return provider.Tag{Owner: parts[1], FamilyID: parts[2]}, time.Unix(seconds, 0), true
}

func sameKey(a, b string) bool {
	x, y := strings.Fields(a), strings.Fields(b)
	return len(x) > 1 && len(y) > 1 && x[0] == y[0] && x[1] == y[1]
}
