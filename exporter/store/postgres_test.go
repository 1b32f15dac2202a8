package store_test

import (
	"os"
	"testing"

	"github.com/erlops/erlops/internal/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func newPostgres(t *testing.T) string {
	t.Helper()
	return pgtest.New(t)
}
