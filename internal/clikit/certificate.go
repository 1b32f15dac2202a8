package clikit

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
)

// ExplainTLS says of the error of a request which certificate is out of its
// time, since when, and what to do; certFile is that of the certificate that was
// shown, or empty. Other errors are returned as they are.
func ExplainTLS(err error, certFile string, now time.Time) error {
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired && invalid.Cert != nil {
		return fmt.Errorf("the certificate of the server, %s, %s: renew it there (where the time is wrong, set this machine's clock, which says %s)",
			subject(invalid.Cert), outOfTime(invalid.Cert, now), date(now))
	}
	if certFile == "" || !mayBeOurCertificate(err) {
		return err
	}
	own := firstCertificate(certFile)
	if own == nil || now.Before(own.NotAfter) && now.After(own.NotBefore) {
		return err
	}
	return fmt.Errorf("the server refuses the certificate in %s, %s, which %s: get a new one and put it into that file (%w)",
		certFile, subject(own), outOfTime(own, now), err)
}

// mayBeOurCertificate tells whether a server ends a connection like that when it
// does not like the client's certificate: with an alert, which may get lost.
func mayBeOurCertificate(err error) bool {
	_, alert := errors.AsType[tls.AlertError](err)
	operation, network := errors.AsType[*net.OpError](err)
	return alert || network && operation.Op == "remote error" || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func subject(c *x509.Certificate) string { return fmt.Sprintf("%q", c.Subject) }

func outOfTime(c *x509.Certificate, now time.Time) string {
	if now.Before(c.NotBefore) {
		return "is not valid before " + date(c.NotBefore)
	}
	return "expired on " + date(c.NotAfter)
}

func date(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// firstCertificate reads the first one of a file; nil when there is none.
func firstCertificate(path string) *x509.Certificate {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return nil
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil
		}
		return c
	}
}
