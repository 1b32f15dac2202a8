package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/internal/clikit"
	"github.com/erlops/erlops/internal/erltest"
	"github.com/erlops/erlops/internal/proc"
)

// TestScripts runs the scripts of testdata/script: the program as users call
// it, against an exporter that is attached to two real nodes. In a script are
//
//	$ERL_EXPORTER_URL        the exporter
//	$TOKEN_FILE              the token of somebody who may operate it
//	$NODE, $OTHER, $EPMD     the nodes and their epmd
//	$COOKIE_FILE             their cookie
//	await ARGS... [-- TEXT]  calls erl-exporter until it prints TEXT and exits with 0
//	exits CODE ARGS...       calls it once; it must exit with CODE
//	awaits CODE ARGS... -- TEXT  calls it until it prints TEXT; it must exit with CODE then
//	kill-node NODE           kills the node
//	connect NODE NODE        connects two nodes
//	eval NODE EXPRESSION     evaluates an Erlang expression on the node
//	await-handler NODE       waits until the log of the node is read
//	set-env NODE KEY VALUE   sets a key of the environment of kernel
//	sleep-diff               waits until families are compared anew
//	expand FILE              replaces variables in a file
func TestScripts(t *testing.T) {
	t.Parallel()
	program, err := binary()
	require.NoError(t, err)
	testscript.Run(t, testscript.Params{
		Dir:                filepath.Join("testdata", "script"),
		RequireUniqueNames: true,
		Setup:              func(env *testscript.Env) error { return setScene(t, env, filepath.Dir(program)) },
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"await": awaitCommand, "awaits": awaitExit, "kill-node": killNode, "exits": exits, "expand": expand,
			"connect": connectNodes, "set-env": setEnvironment, "sleep-diff": nextDiff,
			"eval": evaluate, "await-handler": awaitHandler,
		},
	})
}

type sceneKey struct{}

// setScene starts what a script works on.
func setScene(t *testing.T, env *testscript.Env, bin string) error {
	t.Helper()
	epmd := erltest.StartEPMD(t)
	n := erltest.Start(t, erltest.Options{EPMD: epmd})
	other := erltest.Start(t, erltest.Options{EPMD: epmd, Cookie: n.Cookie})
	p := start(t, "--config.file", sceneConfig(t, env.WorkDir, n, other))
	tokenFile := filepath.Join(env.WorkDir, "token")
	if err := os.WriteFile(tokenFile, []byte(operator+"\n"), 0o600); err != nil {
		return err
	}
	env.Values[sceneKey{}] = map[string]*erltest.Node{n.Name: n, other.Name: other}
	env.Vars = append(env.Vars,
		"PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"), "HOME="+env.WorkDir, "XDG_CONFIG_HOME=",
		"ERL_EXPORTER_URL="+p.url, "TOKEN_FILE="+tokenFile, "COOKIE_FILE="+cookieFile(t, n),
		"NODE="+n.Name, "OTHER="+other.Name, "EPMD="+epmd.Address(),
	)
	return nil
}

// sceneConfig watches the first node; scripts may add the other.
func sceneConfig(t *testing.T, dir string, n, other *erltest.Node) string {
	t.Helper()
	path := filepath.Join(dir, "erl-exporter.yml")
	require.NoError(t, os.WriteFile(path, fmt.Appendf(nil, `
cookie_file: %s
storage: {path: exporter.db}
auth:
  unauthenticated_role: read
  tokens: [{name: operator, role: operate, token: %s}]
commands:
  enabled: true
  allow: {operate: ['lists:seq/2', 'erlang:node/0', 'erlang:error/1']}
targets:
  - name: scene
    family: scene
    epmd: %q
    static_configs: [{targets: [%q]}]
`, cookieFile(t, n), operator, other.EPMD, n.Name), 0o600))
	return path
}

func awaitCommand(ts *testscript.TestScript, neg bool, args []string) {
	want := ""
	for i, arg := range args {
		if arg == "--" && i+1 < len(args) {
			args, want = args[:i], args[i+1]
			break
		}
	}
	var err error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		err = ts.Exec("erl-exporter", args...)
		if err == nil && strings.Contains(ts.ReadFile("stdout"), want) != neg {
			return
		}
	}
	ts.Fatalf("erl-exporter %s: %v, waiting for %q; last:\n%s%s", strings.Join(args, " "), err, want, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
}

func exits(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec("erl-exporter", args[1:]...)
	if code := exitCode(err); code != args[0] {
		ts.Fatalf("erl-exporter %s exits with %s and not %s: %v", strings.Join(args[1:], " "), code, args[0], err)
	}
}

func exitCode(err error) string {
	code := clikit.ExitOK
	if exit, ok := err.(interface{ ExitCode() int }); ok {
		code = exit.ExitCode()
	}
	return fmt.Sprint(code)
}

func awaitExit(ts *testscript.TestScript, _ bool, args []string) {
	code, want := args[0], args[len(args)-1]
	args = args[1 : len(args)-2]
	err := proc.Await(30*time.Second, func() bool {
		err := ts.Exec("erl-exporter", args...)
		return exitCode(err) == code && strings.Contains(ts.ReadFile("stdout"), want)
	})
	if err != nil {
		ts.Fatalf("erl-exporter %s: waiting for code %s and %q; last:\n%s", strings.Join(args, " "), code, want, ts.ReadFile("stdout"))
	}
}

func sceneNode(ts *testscript.TestScript, name string) *erltest.Node {
	nodes, _ := ts.Value(sceneKey{}).(map[string]*erltest.Node)
	n, ok := nodes[name]
	if !ok {
		ts.Fatalf("no node %q", name)
	}
	return n
}

func killNode(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(syscall.Kill(sceneNode(ts, args[0]).Pid, syscall.SIGKILL))
}

func connectNodes(ts *testscript.TestScript, _ bool, args []string) {
	_, err := sceneNode(ts, args[0]).TryEval("net_kernel:connect_node('" + args[1] + "')")
	ts.Check(err)
}

func setEnvironment(ts *testscript.TestScript, _ bool, args []string) {
	_, err := sceneNode(ts, args[0]).TryEval(fmt.Sprintf("application:set_env(kernel, %s, %q)", args[1], args[2]))
	ts.Check(err)
}

func evaluate(ts *testscript.TestScript, _ bool, args []string) {
	_, err := sceneNode(ts, args[0]).TryEval(args[1])
	ts.Check(err)
}

func awaitHandler(ts *testscript.TestScript, _ bool, args []string) {
	n := sceneNode(ts, args[0])
	ts.Check(proc.Await(30*time.Second, func() bool {
		has, err := n.TryEval("lists:member(erl_exporter_agent, logger:get_handler_ids())")
		return err == nil && has == "true"
	}))
}

// nextDiff waits for as long as a comparison is shared.
func nextDiff(*testscript.TestScript, bool, []string) { time.Sleep(16 * time.Second) }

func expand(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	ts.Check(os.WriteFile(path, []byte(os.Expand(ts.ReadFile(path), ts.Getenv)), 0o600))
}
