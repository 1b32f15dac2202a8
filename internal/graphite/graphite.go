// Package graphite starts Carbon and graphite-web out of a folder with Debian's
// packages of them, for tests and the demo.
package graphite

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/erlops/erlops/internal/proc"
)

const carbonConfig = `[cache]
STORAGE_DIR = %[1]s
CONF_DIR = %[1]s
LOG_DIR = %[1]s
PID_DIR = %[1]s
LOCAL_DATA_DIR = %[1]s/whisper/
USER =
MAX_CACHE_SIZE = inf
MAX_UPDATES_PER_SECOND = inf
MAX_CREATES_PER_MINUTE = inf
LINE_RECEIVER_INTERFACE = 127.0.0.1
LINE_RECEIVER_PORT = %[2]d
PICKLE_RECEIVER_INTERFACE = 127.0.0.1
PICKLE_RECEIVER_PORT = %[3]d
CACHE_QUERY_INTERFACE = 127.0.0.1
CACHE_QUERY_PORT = %[4]d
ENABLE_TAGS = True
TAG_UPDATE_INTERVAL = 1
GRAPHITE_URL = http://127.0.0.1:%[5]d
ENABLE_LOGROTATION = False
`

const graphiteSettings = `SECRET_KEY = 'of a test'
TIME_ZONE = 'UTC'
CONF_DIR = STORAGE_DIR = LOG_DIR = %[1]q
WHISPER_DIR = %[1]q + '/whisper'
INDEX_FILE = %[1]q + '/index'
CARBONLINK_HOSTS = ['127.0.0.1:%[2]d']
LOG_ROTATION = False
DATABASES = {'default': {'NAME': %[1]q + '/graphite.db', 'ENGINE': 'django.db.backends.sqlite3', 'OPTIONS': {'timeout': 20}}}
`

const graphiteWeb = `import os, sys
os.environ['DJANGO_SETTINGS_MODULE'] = 'graphite.settings'
os.environ['GRAPHITE_SETTINGS_MODULE'] = 'erlops_settings'
import django
django.setup()
from django.core.management import call_command
call_command('migrate', run_syncdb=True, verbosity=0)
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIServer, make_server
from django.core.wsgi import get_wsgi_application
class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
make_server('127.0.0.1', int(sys.argv[1]), get_wsgi_application(), Server).serve_forever()
`

// Ports are where a Graphite listens, on 127.0.0.1.
type Ports struct {
	// Line takes the plaintext protocol, Pickle the pickle protocol.
	Line, Pickle int
	// Query is between graphite-web and Carbon.
	Query int
	// Web is graphite-web's.
	Web int
}

// Graphite says how the two programs are started.
type Graphite struct {
	Carbon, Web []string
}

// New writes into dir, which has to be there, what the programs read, and returns
// their commands. root has the packages; schemas and aggregation are two files of
// Carbon, storage-schemas.conf and storage-aggregation.conf. The programs run in
// dir and need PYTHONPATH to be it.
func New(root, dir string, p Ports, schemas, aggregation string) (*Graphite, error) {
	if err := os.MkdirAll(filepath.Join(dir, "whisper"), 0o700); err != nil {
		return nil, err
	}
	for name, text := range map[string]string{
		"carbon.conf":              fmt.Sprintf(carbonConfig, dir, p.Line, p.Pickle, p.Query, p.Web),
		"storage-schemas.conf":     schemas,
		"storage-aggregation.conf": aggregation,
		"erlops_settings.py":       fmt.Sprintf(graphiteSettings, dir, p.Query),
		"web.py":                   graphiteWeb,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	in := func(argv ...string) []string { return proc.InRoot(root, dir, argv) }
	return &Graphite{
		Carbon: in("/usr/bin/carbon-cache", "--nodaemon", "--config="+filepath.Join(dir, "carbon.conf"),
			"--pidfile="+filepath.Join(dir, "carbon.pid"), "start"),
		Web: in("/usr/bin/python3", filepath.Join(dir, "web.py"), strconv.Itoa(p.Web)),
	}, nil
}
