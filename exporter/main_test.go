package exporter_test

import (
	"os"
	"testing"

	"github.com/erlops/erlops/internal/exportertest"
)

func TestMain(m *testing.M) {
	os.Exit(exportertest.Main(m))
}
