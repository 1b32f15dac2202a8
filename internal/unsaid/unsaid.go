// Package unsaid keeps secrets out of what others answer: servers and proxies
// that refuse a request repeat it on the pages of their errors, with the
// credentials that it came with, and such pages end in errors and logs.
package unsaid

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/oauth2"
)

// Hidden stands where a secret was.
const Hidden = "<secret>"

// shortest is the length of a text that is looked for, in bytes: what is shorter
// is in every other word.
const shortest = 4

// public are the headers that say nothing secret. All others may: people name
// them in a configuration.
func public() []string {
	return []string{
		"Accept", "Accept-Encoding", "Connection", "Content-Encoding", "Content-Length", "Content-Type", "User-Agent",
		"X-Loki-Response-Encoding-Flags", "X-Scope-Orgid",
	}
}

// Text is the text of an answer without the secrets that its request carried.
// The text may have been cut: a beginning of a secret at its end is one too.
func Text(answer *http.Response, text string) string {
	if answer.Request == nil {
		return text
	}
	return Without(text, carried(answer.Request))
}

// carried are the secrets in the headers and in the URL of a request as it went
// out.
func carried(r *http.Request) []string {
	var all []string
	for name, values := range r.Header {
		if slices.Contains(public(), name) {
			continue
		}
		for _, value := range values {
			_, credentials, found := strings.Cut(value, " ")
			if !found {
				credentials = value
			}
			all = append(all, value, credentials)
			if text, err := base64.StdEncoding.DecodeString(credentials); err == nil {
				_, password, _ := strings.Cut(string(text), ":")
				all = append(all, string(text), password)
			}
		}
	}
	if r.URL != nil {
		if password, ok := r.URL.User.Password(); ok {
			all = append(all, password)
		}
	}
	return all
}

// Without is a text without secrets, in all forms in which pages have them, and
// without a beginning of one at the end of the text.
func Without(text string, secrets []string) string {
	var all []string
	for _, s := range secrets {
		if len(s) >= shortest {
			all = append(all, forms(s)...)
		}
	}
	// The longest first: one may be in another.
	slices.SortFunc(all, func(a, b string) int { return len(b) - len(a) })
	for _, s := range all {
		text = strings.ReplaceAll(text, s, Hidden)
	}
	for _, s := range all {
		for n := min(len(s)-1, len(text)); n >= shortest; n-- {
			if strings.HasSuffix(text, s[:n]) {
				return text[:len(text)-n] + Hidden
			}
		}
	}
	return text
}

func forms(secret string) []string {
	quoted, err := json.Marshal(secret)
	if err != nil || len(quoted) < 2 {
		quoted = []byte(`""`)
	}
	plain := fmt.Sprintf("%q", secret)
	all := []string{
		secret, string(quoted[1 : len(quoted)-1]), plain[1 : len(plain)-1], html.EscapeString(secret),
		url.QueryEscape(secret), url.PathEscape(secret),
	}
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(s string) bool { return len(s) < shortest })
}

// Error is the error of a request that got no answer, without its URL, in which
// somebody may have written a password, and without what the server of tokens
// has said, to which the client's secret was sent.
func Error(err error) error {
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok && refused.Response != nil {
		return fmt.Errorf("the server of oauth2 tokens answered %d %s", refused.Response.StatusCode, http.StatusText(refused.Response.StatusCode))
	}
	if withURL, ok := errors.AsType[*url.Error](err); ok {
		return withURL.Err
	}
	return err
}
